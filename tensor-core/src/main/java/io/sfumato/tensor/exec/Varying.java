// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import java.util.Collection;
import java.util.List;
import java.util.function.Supplier;

/**
 * Parts of recorded work that depend on numbers of the host which differ from run to run: the step
 * number and learning rate of an optimiser, the key of a random draw. The host runs such a part
 * once for each replay (for the first one while the work is recorded) and hands its new numbers to
 * the recorded launches. So it must do the same each time: the same ops on tensors of the same
 * shapes. Outside of a recording a part just runs.
 */
public final class Varying {
  static final ScopedValue<Listener> LISTENER = ScopedValue.newInstance();

  private Varying() {}

  /** What records. */
  public interface Listener {
    /** As {@link Varying#run}. */
    Tensor[] part(Collection<Tensor> uses, Supplier<Tensor[]> part);
  }

  /**
   * Runs a part.
   *
   * @param uses what the part reads or writes of the recorded work's own results; kept as long as
   *     the recording
   * @param part the part; its results may be used in the rest of the recorded work
   * @return what {@code part} returns
   */
  public static Tensor[] run(Collection<Tensor> uses, Supplier<Tensor[]> part) {
    return LISTENER.isBound() ? LISTENER.get().part(uses, part) : part.get();
  }

  /**
   * Whether work is being recorded: what is computed now with numbers of the host, outside of a
   * part, will be repeated with the same ones.
   */
  public static boolean isRecording() {
    return LISTENER.isBound();
  }

  /** A part that returns one tensor and uses nothing of the recorded work. */
  public static Tensor run(Supplier<Tensor> part) {
    return run(List.of(), () -> new Tensor[] {part.get()})[0];
  }

  /** Runs {@code body} while {@code listener} is told of parts; for backends. */
  public static Tensor[] listening(Listener listener, Supplier<Tensor[]> body) {
    return ScopedValue.where(LISTENER, listener).call(body::get);
  }
}
