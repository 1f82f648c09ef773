// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CompilerDirectivesTest {
  private static final List<?> LOOPS =
      List.of(new VectorChannelLoops(), new VectorRowLoops(new VectorReduceLoops()));

  @Test
  void loopsAreNamedAndHelpersAreNot() {
    String text = CompilerDirectives.text(LOOPS);

    assertTrue(text.contains("\"-io/sfumato/tensor/cpu/simd/VectorChannelLoops.planeMap\""), text);
    assertTrue(text.contains("\"-io/sfumato/tensor/cpu/simd/VectorRowLoops.softmax\""), text);
    assertFalse(text.contains("ordered"), text);
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

  /** Directives go by name: a helper with vectors for arguments may not be called like a loop. */
  @Test
  void noHelperWithVectorsHasTheNameOfALoop() {
    for (Object loops : VectorProvider.separate(new VectorLoops(), new VectorWinogradLoops())) {
      Set<String> names =
          Arrays.stream(loops.getClass().getInterfaces())
              .flatMap(type -> Arrays.stream(type.getMethods()))
              .map(Method::getName)
              .collect(Collectors.toSet());
      for (Method method : loops.getClass().getDeclaredMethods()) {
        assertTrue(
            !names.contains(method.getName()) || !method.toString().contains("jdk.incubator"),
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
