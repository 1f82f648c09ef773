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
import java.util.function.Supplier;

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
      Op op, List<TensorSpec> inputs, List<TensorSpec> outputs, String path, long nanos) {}

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

  /** One line per op name: how often, how long, which share; the longest first. */
  public String table() {
    Map<String, long[]> sums = new LinkedHashMap<>();
    long total = 0;
    for (Event e : events) {
      long[] sum = sums.computeIfAbsent(e.op().name(), n -> new long[2]);
      sum[0]++;
      sum[1] += e.nanos();
      total += e.nanos();
    }
    StringBuilder text =
        new StringBuilder(
            String.format(Locale.ROOT, "%-28s %8s %12s %7s%n", "op", "calls", "ms", "share"));
    long all = Math.max(1, total);
    sums.entrySet().stream()
        .sorted((a, b) -> Long.compare(b.getValue()[1], a.getValue()[1]))
        .forEach(
            e ->
                text.append(
                    String.format(
                        Locale.ROOT,
                        "%-28s %8d %12.3f %6.1f%%%n",
                        e.getKey(),
                        e.getValue()[0],
                        e.getValue()[1] * 1e-6,
                        100.0 * e.getValue()[1] / all)));
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
