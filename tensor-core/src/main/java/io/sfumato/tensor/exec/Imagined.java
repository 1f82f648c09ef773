// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.NoValuesException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/**
 * Runs ops without computing: it infers shapes and counts the memory that results would take, from
 * their op until nobody holds them. So the memory of a step can be told before it is run, on any
 * device. Ops whose inputs have values and whose results are small are computed, for programs read
 * timesteps and labels back; in-place ops do nothing.
 *
 * <p>What kernels need beside their results (packed weights, workspaces) is not counted, nor what
 * an allocator rounds up.
 */
public final class Imagined implements Executor {
  /** Bytes of results up to which an op is computed. */
  private static final long SMALL = 1 << 14;

  private static final String WHY =
      "this tensor was only imagined, to count memory: it has no values to read";

  private long live;
  private long peak;

  private Imagined() {}

  /**
   * The most memory that the results of {@code body}'s ops take at a time, in bytes.
   *
   * @throws NoValuesException if {@code body} reads values of results
   */
  public static long peakBytes(Runnable body) {
    Imagined imagined = new Imagined();
    Supplier<Boolean> run =
        () -> {
          Scope.run(body);
          return true;
        };
    Executor.with(imagined, run);
    return imagined.peak;
  }

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    if (op instanceof InPlaceOp) {
      return new Tensor[0];
    }
    if (op instanceof ViewsOp) {
      return Eager.INSTANCE.execute(op, inputs);
    }
    try {
      return imagine(op, inputs);
    } catch (TensorException e) {
      e.in(op.name(), Eager.describe(inputs));
      throw e;
    }
  }

  private Tensor[] imagine(Op op, Tensor[] inputs) {
    List<TensorSpec> specs = new ArrayList<>(inputs.length);
    List<Layout> layouts = new ArrayList<>(inputs.length);
    boolean computable = true;
    for (Tensor t : inputs) {
      specs.add(t.spec());
      layouts.add(t.layout());
      computable &= t.storage().hasMemory();
    }
    List<TensorSpec> results = op.infer(specs);
    if (computable && results.stream().allMatch(r -> r.bytes() <= SMALL)) {
      Tensor[] out = Eager.INSTANCE.execute(op, inputs);
      for (Tensor t : out) {
        long bytes = t.storage().bytes();
        count(bytes);
        t.storage().whenFreed(() -> count(-bytes));
      }
      return out;
    }
    Tensor[] out = new Tensor[results.size()];
    for (int i = 0; i < out.length; i++) {
      TensorSpec spec = results.get(i);
      Device device = inputs.length == 0 ? spec.device() : inputs[0].device();
      count(spec.bytes());
      Storage storage =
          Storage.imagined(device, spec.bytes(), (address, bytes) -> count(-bytes), WHY);
      Layout layout = op.layout(i, spec, layouts);
      out[i] = Tensor.owned(storage, layout, spec.dtype(), Scope.current());
    }
    return out;
  }

  private void count(long bytes) {
    live += bytes;
    peak = Math.max(peak, live);
  }

  @Override
  public String toString() {
    return "Imagined" + Arrays.asList(live, peak);
  }
}
