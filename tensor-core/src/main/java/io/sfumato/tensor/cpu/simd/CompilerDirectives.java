// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.Setting;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import jdk.incubator.vector.Vector;
import org.jspecify.annotations.Nullable;

/**
 * Asks the JIT compiler to compile the innermost loops on their own. Left alone it inlines a loop
 * into its caller if it comes to the caller first; together they are too much for its budget, and
 * vectors become objects: group norm with SiLU was ten times slower in one process out of five that
 * ran it first. The same goes for loops of one caller: of a gradient's loop and the sums behind it,
 * inlined together, the sums boxed each value.
 *
 * <p>The request is a compiler directive, as {@code jcmd Compiler.directives_add} sends it. It
 * speaks of calls inside {@code io.sfumato.tensor.cpu} only. It is sent by a thread of its own, for
 * it takes about 0.1 s, less than the compiler needs to get to the first loop; where a JVM does not
 * take it, a log line says so.
 */
final class CompilerDirectives {
  /** The system property that leaves the compiler alone if it is {@code off}. */
  static final String PROPERTY = "sfumato.jit.directives";

  private static final String COMMANDS = "com.sun.management:type=DiagnosticCommand";

  private CompilerDirectives() {}

  /**
   * Sends the request for these loops, unless the property forbids it.
   *
   * @param setting the value of the property, or null
   * @throws IllegalArgumentException if it is neither on nor off
   */
  static void send(List<Class<?>> loops, @Nullable String setting) {
    if (!Setting.isOff(PROPERTY, setting)) {
      Thread.ofPlatform().daemon().name("sfumato-jit-directives").start(() -> log(add(loops)));
    }
  }

  private static void log(@Nullable String obstacle) {
    if (obstacle != null) {
      System.getLogger(CompilerDirectives.class.getName())
          .log(
              Level.INFO,
              "the JIT compiler takes no directives, so some CPU loops may be slow for the life of"
                  + " this process: {0} (they need HotSpot with the modules java.management and"
                  + " jdk.management; -D{1}=off silences this)",
              obstacle,
              PROPERTY);
    }
  }

  /** Sends the request; why that failed, or null. */
  static @Nullable String add(List<Class<?>> loops) {
    try {
      Path file = Files.createTempFile("sfumato-directives", ".json");
      try {
        Files.writeString(file, text(loops));
        return send(file);
      } finally {
        Files.deleteIfExists(file);
      }
    } catch (IOException | JMException | LinkageError | RuntimeException e) {
      return e.toString();
    }
  }

  /** The compiler's answer to a file of directives, or null if it took them. */
  static @Nullable String send(Path file) throws JMException {
    MBeanServer server = ManagementFactory.getPlatformMBeanServer();
    Object[] arguments = {new String[] {file.toString()}};
    String[] signature = {String[].class.getName()};
    Object answer =
        server.invoke(new ObjectName(COMMANDS), "compilerDirectivesAdd", arguments, signature);
    String text = String.valueOf(answer).strip();
    return text.endsWith("directives added") ? null : text;
  }

  /** The request: no loop is inlined. */
  static String text(List<Class<?>> loops) {
    String kept =
        loops.stream()
            .flatMap(CompilerDirectives::entries)
            .sorted()
            .map(name -> "\"-" + name + "\"")
            .collect(Collectors.joining(",\n  "));
    return "[{match: \"io/sfumato/tensor/cpu/*.*\", c2: {inline: [\n  " + kept + "]}}]\n";
  }

  /**
   * The methods of a class but those with vectors for arguments or result, which must be inlined.
   */
  private static Stream<String> entries(Class<?> loops) {
    String name = loops.getName().replace('.', '/');
    Set<String> names = new TreeSet<>();
    Set<String> helpers = new TreeSet<>();
    for (Method method : loops.getDeclaredMethods()) {
      if (!method.isSynthetic()) {
        (takesVectors(method) ? helpers : names).add(method.getName());
      }
    }
    names.removeAll(helpers); // directives go by name
    return names.stream().map(method -> name + "." + method);
  }

  /** Whether an argument or the result is a vector, a mask or anything else of the Vector API. */
  private static boolean takesVectors(Method method) {
    return Stream.concat(Stream.of(method.getReturnType()), Stream.of(method.getParameterTypes()))
        .anyMatch(type -> type.getPackageName().equals(Vector.class.getPackageName()));
  }
}
