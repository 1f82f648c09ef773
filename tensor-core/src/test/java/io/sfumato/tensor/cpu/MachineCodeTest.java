// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import org.junit.jupiter.api.Test;

/** Products where Linux lets a program make no machine code. */
class MachineCodeTest {
  private static final String REFUSED = "refused";

  /** The JVM's own code has its memory from the start. */
  private static List<String> options(String... more) {
    List<String> options = new ArrayList<>(List.of(more));
    options.addAll(
        List.of(
            "-XX:-SegmentedCodeCache",
            "-XX:ReservedCodeCacheSize=64m",
            "-XX:InitialCodeCacheSize=64m"));
    return options;
  }

  /** Forbids the process to make code, and says which tiles it has, what it logged, a product. */
  static final class Program {
    private Program() {}

    public static void main(String[] args) throws Throwable {
      if (args[0].equals(REFUSED) && !forbid()) {
        System.out.println("cannot be forbidden");
        return;
      }
      List<String> logged = new ArrayList<>();
      Logger logger = Logger.getLogger("io.sfumato.tensor.cpu.simd.AssembledTile");
      logger.addHandler(
          new Handler() {
            @Override
            public void publish(LogRecord record) {
              logged.add(new SimpleFormatter().formatMessage(record));
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
          });
      System.out.println(Simd.provider().gemmTile().getClass().getSimpleName());
      NativeFloats a = NativeFloats.of(1, 2, 3, 4);
      NativeFloats c = new NativeFloats(4);
      var matrix = Gemm.Matrix.rowMajor(a.address, 2);
      Gemm.multiply(2, 2, 2, matrix, matrix, Gemm.Matrix.rowMajor(c.address, 2), false);
      System.out.println(List.of(c.get(0), c.get(1), c.get(2), c.get(3)));
      logged.forEach(System.out::println);
    }

    /** Refuses all memory that was not executable before, from here on; Linux 6.3. */
    private static boolean forbid() throws Throwable {
      int setMdwe = 65;
      var word = ValueLayout.JAVA_LONG;
      Linker linker = Linker.nativeLinker();
      int failed =
          (int)
              linker
                  .downcallHandle(
                      linker.defaultLookup().findOrThrow("prctl"),
                      FunctionDescriptor.of(
                          ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, word, word, word, word))
                  .invokeExact(setMdwe, 1L, 0L, 0L, 0L);
      return failed == 0;
    }
  }

  @Test
  void tilesOfTheCompilerServeWhereNoneIsAllowed() throws Exception {
    assumeTrue(made(), "no machine code on this machine");
    List<String> lines = ChildJvm.run(options(), Program.class, REFUSED);
    assumeFalse(lines.equals(List.of("cannot be forbidden")), "Linux before 6.3");
    assertEquals(
        List.of(
            "VectorGemmTile",
            "[7.0, 10.0, 15.0, 22.0]",
            "no loops of machine code, which costs some speed: memory cannot be made executable"
                + " here (mprotect) (-Dsfumato.machine.code=off silences this)"),
        lines);
    List<String> silent =
        ChildJvm.run(options("-Dsfumato.machine.code=off"), Program.class, REFUSED);
    assertEquals(List.of("VectorGemmTile", "[7.0, 10.0, 15.0, 22.0]"), silent);
  }

  @Test
  void withoutAWordWhereItIs() throws Exception {
    assumeTrue(made(), "no machine code on this machine");
    List<String> lines = ChildJvm.run(options(), Program.class, "allowed");
    assertEquals(List.of("AssembledTile", "[7.0, 10.0, 15.0, 22.0]"), lines);
  }

  private static boolean made() {
    return Simd.provider().gemmTile().getClass().getSimpleName().equals("AssembledTile");
  }
}
