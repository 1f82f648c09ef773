// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CompilerDirectivesTest {
  private static final List<Class<?>> LOOPS =
      List.of(VectorChannelLoops.class, SoftmaxVectors.class, RowVectors.class);

  @Test
  void loopsAreNamedAndHelpersAreNot() {
    String text = CompilerDirectives.text(LOOPS);

    assertTrue(text.contains("\"-io/sfumato/tensor/cpu/simd/VectorChannelLoops.planeMap\""), text);
    assertTrue(text.contains("\"-io/sfumato/tensor/cpu/simd/SoftmaxVectors.scale\""), text);
    assertTrue(text.contains("\"-io/sfumato/tensor/cpu/simd/RowVectors.deviations4\""), text);
    assertFalse(text.contains("ordered"), text);
  }

  /** All classes but the tiles, which {@code TileChoice} watches over, and the smallest helpers. */
  @Test
  void noClassWithLoopsIsForgotten() throws Exception {
    Set<String> known =
        VectorProvider.separate().stream().map(Class::getSimpleName).collect(Collectors.toSet());
    Path folder =
        Path.of(VectorProvider.class.getProtectionDomain().getCodeSource().getLocation().toURI())
            .resolve("io/sfumato/tensor/cpu/simd");
    try (Stream<Path> files = Files.list(folder)) {
      List<String> vectors =
          files
              .map(file -> file.getFileName().toString().replace(".class", ""))
              .filter(name -> name.endsWith("Vectors") || name.endsWith("Loops"))
              .filter(name -> !name.equals("VectorLoops")) // the list of the others
              .sorted()
              .toList();
      assertEquals(vectors, known.stream().sorted().toList());
    }
  }

  /** As the compiler itself lists its directives. */
  @Test
  void theCompilerTakesThem() throws Exception {
    assertNull(CompilerDirectives.add(LOOPS));

    Object stack =
        ManagementFactory.getPlatformMBeanServer()
            .invoke(
                new ObjectName("com.sun.management:type=DiagnosticCommand"),
                "compilerDirectivesPrint",
                new Object[] {},
                new String[] {});
    assertTrue(String.valueOf(stack).contains("io/sfumato/tensor/cpu/*.*"), String.valueOf(stack));
  }

  /** Directives go by name: a loop, which takes addresses, may not be called like a helper. */
  @Test
  void noLoopIsCalledLikeAHelperWithVectors() {
    for (Class<?> loops : VectorProvider.separate()) {
      Set<String> helpers =
          Arrays.stream(loops.getDeclaredMethods())
              .filter(method -> method.toString().contains("jdk.incubator"))
              .map(Method::getName)
              .collect(Collectors.toSet());
      for (Method method : loops.getDeclaredMethods()) {
        assertFalse(
            helpers.contains(method.getName())
                && !method.toString().contains("jdk.incubator")
                && Arrays.asList(method.getParameterTypes()).contains(long.class),
            method.toString());
      }
    }
  }

  @Test
  void anotherSettingThanOnAndOffIsRefused() {
    var e =
        assertThrows(
            IllegalArgumentException.class, () -> CompilerDirectives.send(LOOPS, "perhaps"));

    assertTrue(String.valueOf(e.getMessage()).contains("perhaps"), e.toString());
  }

  @Test
  void whatTheCompilerRefusesIsSaid(@TempDir Path folder) throws Exception {
    String obstacle = CompilerDirectives.send(folder.resolve("missing.json"));

    assertTrue(obstacle != null && obstacle.contains("missing.json"), obstacle);
  }
}
