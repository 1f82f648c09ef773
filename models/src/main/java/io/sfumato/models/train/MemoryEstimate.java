// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Imagined;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What memory a training run will take, told before its first step. The step itself is imagined
 * ({@link Imagined}): every shape is inferred, and each result counted from its op until nobody
 * needs it, gradients and saved activations too; nothing is computed. Kernels' own buffers (packed
 * weights, workspaces) and what a pool rounds up come on top.
 *
 * @param device where the models are
 * @param present bytes that are in use already: parameters, averages, data
 * @param optimizer bytes of the optimisers' state that the first step will make
 * @param accumulated bytes of summed gradients, if a step has several micro-batches
 * @param step bytes of activations and gradients at the worst moment of a step
 * @param copy bytes of a checkpoint's copy in the host's memory, if it is written beside training
 */
public record MemoryEstimate(
    Device device, long present, long optimizer, long accumulated, long step, long copy) {
  /**
   * Estimates.
   *
   * @param trainee what will be trained; its state stays as it is
   * @param saving how checkpoints are written
   * @throws io.sfumato.tensor.NoValuesException if its step cannot be imagined, since it reads
   *     values back
   */
  public static MemoryEstimate of(Trainee trainee, TrainingRun.Saving saving) {
    Device device = trainee.updates().getFirst().parameters().getFirst().value().device();
    long present = Backends.of(device).memory().live();
    long optimizer = 0;
    long accumulated = 0;
    long state = 0;
    for (Update update : trainee.updates()) {
      long values = 0;
      long moments = 0;
      for (Parameter p : update.parameters()) {
        TensorSpec spec = p.value().spec();
        long elements = spec.shape().numel();
        values += spec.bytes();
        moments += (long) (elements * update.options().optimizer().stateBytes());
        moments += spec.dtype().isHalf() ? 4 * elements : 0;
      }
      state += 2 * values + moments + (update.ema() == null ? 0 : values);
      optimizer += update.optimizer().stepCount() > 0 ? 0 : moments;
      accumulated += update.options().accumulate() > 1 ? values : 0;
    }
    long step = Imagined.peakBytes(trainee::rehearse);
    return new MemoryEstimate(
        device, present, optimizer, accumulated, step, saving.asynchronous() ? state : 0);
  }

  /** Bytes on the device at the worst moment of a step. */
  public long peak() {
    return present + optimizer + accumulated + step + (device.isCpu() ? copy : 0);
  }

  /** The estimate in one line. */
  public String text() {
    List<String> parts = new ArrayList<>();
    parts.add(mega(present) + " parameters, averages and data");
    parts.add(mega(optimizer) + " optimizer");
    if (accumulated > 0) {
      parts.add(mega(accumulated) + " summed gradients");
    }
    parts.add(mega(step) + " activations and gradients");
    if (copy > 0) {
      parts.add(mega(copy) + " of the host for a checkpoint's copy");
    }
    return "a step takes about "
        + mega(peak())
        + " on "
        + device
        + ", without the kernels' own buffers: "
        + String.join(", ", parts);
  }

  private static String mega(long bytes) {
    return String.format(Locale.ROOT, "%.1f MB", bytes * 1e-6);
  }

  /**
   * Refuses what cannot fit.
   *
   * @throws IllegalArgumentException with the numbers and what helps, if the device has less than
   *     the estimate
   */
  public void requireFits() {
    Backend backend = Backends.of(device);
    long left = backend.available();
    if (left >= 0) {
      requireFits(left);
    }
  }

  /** The same with what the device can still give beside what is present. */
  void requireFits(long available) {
    long more = peak() - present;
    if (more > available) {
      throw new IllegalArgumentException(
          text()
              + "; "
              + mega(more)
              + " of it are still to be taken, and "
              + device
              + " has "
              + mega(available)
              + " left. A smaller --batch with a larger --accumulate, --precision bf16, --optimizer"
              + " adamw8bit, --synchronous-checkpoints or a smaller model take less;"
              + " --no-memory-check tries all the same");
    }
  }
}
