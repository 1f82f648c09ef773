// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Libraries that are made to need another version. */
class RelinkTest {
  private static final String TWELVE = "libneeded.so.12";
  private static final String THIRTEEN = "libneeded.so.13";

  @TempDir Path folder;

  /** A library {@code name} that answers {@code value}, its symbols with a version of that name. */
  private Path versioned(String name, int value) throws Exception {
    Path map = Files.writeString(folder.resolve(name + ".map"), name + " { global: *; };\n");
    return NativeBuild.library(
        folder,
        name,
        "extern \"C\" int answer() { return " + value + "; }",
        "-Wl,--version-script=" + map);
  }

  private static int call(Path library) throws Throwable {
    SymbolLookup symbols = SymbolLookup.libraryLookup(library, Arena.global());
    return (int)
        Linker.nativeLinker()
            .downcallHandle(
                symbols.find("ask").orElseThrow(), FunctionDescriptor.of(ValueLayout.JAVA_INT))
            .invokeExact();
  }

  @Test
  void theOtherVersionIsLoadedAndAnswers() throws Throwable {
    Path twelve = versioned(TWELVE, 12);
    versioned(THIRTEEN, 13);
    String source = "extern \"C\" int answer(); extern \"C\" int ask() { return answer() * 100; }";
    Path user =
        NativeBuild.library(
            folder, "libuser.so", source, twelve + "", "-Wl,-rpath,$ORIGIN", "-Wl,-z,now");
    byte[] object = Files.readAllBytes(user);
    byte[] changed = Relink.relink(object, TWELVE, THIRTEEN);
    assertArrayEquals(Files.readAllBytes(user), object, "the given bytes stay as they were");
    Path copy = Files.write(folder.resolve("libuser13.so"), changed);
    assertEquals(1300, call(copy));
    assertEquals(1200, call(user));
    int different = 0;
    for (int i = 0; i < object.length; i++) {
      different += object[i] == changed[i] ? 0 : 1;
    }
    assertTrue(different <= 4, "changed bytes: " + different);
  }

  @Test
  void theBindingsOfCublasCanBeChanged() throws Exception {
    String name = "lib/libJCublas2-12.6.0-linux-x86_64.so";
    try (InputStream in = ClassLoader.getSystemResourceAsStream(name)) {
      byte[] object = in.readAllBytes();
      byte[] changed = Relink.relink(object, "libcublas.so.12", "libcublas.so.13");
      Path file = Files.write(folder.resolve("changed.so"), changed);
      String needs = NativeBuild.run(List.of("objdump", "-p", file + ""));
      assertTrue(needs.contains("libcublas.so.13"), needs);
      assertTrue(!needs.contains("libcublas.so.12"), needs);
      assertArrayEquals(object, Relink.relink(changed, "libcublas.so.13", "libcublas.so.12"));
    }
  }

  @Test
  void whatIsNoSuchObjectIsRefused() throws Exception {
    byte[] text = "no library at all, but long enough to hold a header of one ........".getBytes();
    assertThrows(IllegalArgumentException.class, () -> Relink.relink(text, TWELVE, THIRTEEN));
    assertThrows(
        IllegalArgumentException.class, () -> Relink.relink(new byte[3], TWELVE, THIRTEEN));
    byte[] object = Files.readAllBytes(versioned(TWELVE, 12));
    assertThrows(
        IllegalArgumentException.class,
        () -> Relink.relink(object, "libother.so.1", "libother.so.2"));
    assertThrows(
        IllegalArgumentException.class, () -> Relink.relink(object, TWELVE, "libneeded.so.9"));
    for (int length : new int[] {64, 100, 1000}) {
      byte[] cut = Arrays.copyOf(object, length);
      assertThrows(IllegalArgumentException.class, () -> Relink.relink(cut, TWELVE, THIRTEEN));
    }
  }
}
