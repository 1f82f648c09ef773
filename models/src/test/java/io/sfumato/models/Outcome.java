// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.ToIntFunction;

/**
 * What a program did that was run in this process.
 *
 * @param code its exit code
 * @param text what it printed, to either stream
 */
public record Outcome(int code, String text) {
  /** Runs a program. */
  public static Outcome of(ToIntFunction<String[]> program, String... args) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (PrintStream both = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      System.setOut(both);
      System.setErr(both);
      int code = program.applyAsInt(args);
      return new Outcome(code, bytes.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  /** The same with a list of arguments. */
  public static Outcome of(ToIntFunction<String[]> program, List<String> args) {
    return of(program, args.toArray(String[]::new));
  }
}
