// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * Notes every op with its shapes, module path and time. Waits for the device after each op, so that
 * times are those of the op; the whole is slower than without.
 *
 * {@snippet :
 * Trace trace = new Trace(Executor.current());
 * Executor.with(trace, () -> model.call(x));
 * String table = trace.table();
 * }
 */
public final class Trace implements Decorator {
  /**
   * One op that ran.
   *
   * @param op the op with its attributes
   * @param inputs what it was given
   * @param outputs what came out
   * @param path the module that ran
   * @param nanos how long it took
   */
  public record Event(
      Op op, List<TensorSpec> inputs, List<TensorSpec> outputs, String path, long nanos) {
    /** Bytes of all inputs and outputs; 0 for views, which move nothing. */
    public long bytes() {
      if (op instanceof ViewOp || op instanceof ViewsOp) {
        return 0;
      }
      return Stream.concat(inputs.stream(), outputs.stream()).mapToLong(TensorSpec::bytes).sum();
    }
  }

  private final Executor inner;
  private final List<Event> events;

  /** A trace of what {@code inner} runs. */
  public Trace(Executor inner) {
    this(inner, new ArrayList<>());
  }

  private Trace(Executor inner, List<Event> events) {
    this.inner = inner;
    this.events = events;
  }

  /** Runs {@code body} and returns the trace of it. */
  public static Trace of(Supplier<?> body) {
    Trace trace = new Trace(Executor.current());
    Executor.<@org.jspecify.annotations.Nullable Object>with(trace, body::get);
    return trace;
  }

  @Override
  public Executor inner() {
    return inner;
  }

  @Override
  public Trace over(Executor other) {
    return new Trace(other, events);
  }

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    List<TensorSpec> in = specs(inputs);
    long start = System.nanoTime();
    Tensor[] out = inner.execute(op, inputs);
    if (out.length > 0) {
      Backends.of(out[0].device()).synchronize();
    } else if (inputs.length > 0) {
      Backends.of(inputs[0].device()).synchronize();
    }
    long nanos = System.nanoTime() - start;
    events.add(new Event(op, in, specs(out), ModulePath.current(), nanos));
    return out;
  }

  private static List<TensorSpec> specs(Tensor[] tensors) {
    return Arrays.stream(tensors).map(Tensor::spec).toList();
  }

  /** What ran, in order. */
  public List<Event> events() {
    return Collections.unmodifiableList(events);
  }

  /** One line per op name: how often, how long, which share, how many bytes; the longest first. */
  public String table() {
    return table("op", e -> e.op().name());
  }

  /** The same per path of a module, without the modules inside it. */
  public String modules() {
    return table("module", e -> e.path().isEmpty() ? "(outside of modules)" : e.path());
  }

  /** The same per module and op. */
  public String modulesAndOps() {
    return table("module and op", e -> (e.path() + " " + e.op().name()).strip());
  }

  private String table(String title, Function<Event, String> key) {
    Map<String, long[]> sums = new LinkedHashMap<>();
    long total = 0;
    int width = title.length();
    for (Event e : events) {
      String name = key.apply(e);
      width = Math.max(width, name.length());
      long[] sum = sums.computeIfAbsent(name, n -> new long[3]);
      sum[0]++;
      sum[1] += e.nanos();
      sum[2] += e.bytes();
      total += e.nanos();
    }
    String names = "%-" + width + "s ";
    StringBuilder text =
        new StringBuilder(
            String.format(
                Locale.ROOT,
                names + "%8s %12s %7s %12s %9s%n",
                title,
                "calls",
                "ms",
                "share",
                "MB",
                "GB/s"));
    long all = Math.max(1, total);
    sums.entrySet().stream()
        .sorted((a, b) -> Long.compare(b.getValue()[1], a.getValue()[1]))
        .forEach(
            e -> {
              long[] sum = e.getValue();
              text.append(
                  String.format(
                      Locale.ROOT,
                      names + "%8d %12.3f %6.1f%% %12.2f %9.1f%n",
                      e.getKey(),
                      sum[0],
                      sum[1] * 1e-6,
                      100.0 * sum[1] / all,
                      sum[2] * 1e-6,
                      (double) sum[2] / Math.max(1, sum[1])));
            });
    return text.toString();
  }

  /** One line per op that ran: path, name, inputs, outputs, time. */
  public String log() {
    StringBuilder text = new StringBuilder();
    for (Event e : events) {
      text.append(
          String.format(
              Locale.ROOT,
              "%-40s %-20s %s -> %s %.3f ms%n",
              e.path(),
              e.op().name(),
              e.inputs(),
              e.outputs(),
              e.nanos() * 1e-6));
    }
    return text.toString();
  }
}
