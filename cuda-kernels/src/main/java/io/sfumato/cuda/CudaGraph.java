// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.driver.Capture;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.Recording;
import io.sfumato.tensor.exec.Varying;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Captured work of a device: a whole training or sampling step, started by one call of the driver.
 * That spares the time of launching kernels one by one, which is most of the time of small models.
 *
 * <p>The body runs once, while it is captured, and nothing is computed then; {@link #replay}
 * computes. What it allocates has the same addresses at each replay and belongs to the graph until
 * that is closed; what it reads from outside must stay alive and gets new values in place. See
 * {@link io.sfumato.tensor.exec.Backend#record} for what a body may do, and {@link Varying} for
 * numbers that differ from run to run.
 */
public final class CudaGraph implements Recording {
  private final Capture capture;
  private final List<Storage> held;
  private final Set<Storage> mutated;
  private final Tensor[] results;

  private CudaGraph(Capture capture, List<Storage> held, Set<Storage> mutated, Tensor[] results) {
    this.capture = capture;
    this.held = held;
    this.mutated = mutated;
    this.results = results;
  }

  /**
   * Captures what {@code body} launches.
   *
   * @throws IllegalStateException if the body reads values back or uses an op that needs the host
   */
  static CudaGraph of(Gpu gpu, Supplier<Tensor[]> body) {
    List<Storage> held = new ArrayList<>();
    Set<Storage> mutated = Collections.newSetFromMap(new IdentityHashMap<>());
    List<Tensor> results = new ArrayList<>();
    boolean done = false;
    try {
      Capture capture =
          Capture.of(
              gpu,
              c -> {
                try (Scope scope = Scope.open()) {
                  Executor noting = new Mutations(Executor.current(), mutated);
                  for (Tensor t : Executor.with(noting, () -> listening(c, held, body))) {
                    results.add(hold(t, held));
                  }
                }
              });
      mutated.removeIf(s -> !s.isLive());
      done = true;
      return new CudaGraph(capture, held, mutated, results.toArray(Tensor[]::new));
    } finally {
      if (!done) {
        held.forEach(Storage::release);
      }
    }
  }

  private static Tensor[] listening(Capture capture, List<Storage> held, Supplier<Tensor[]> body) {
    return Varying.listening(
        (uses, part) -> {
          uses.forEach(t -> hold(t, held));
          return part(capture, uses, part);
        },
        body);
  }

  private static Tensor[] part(Capture capture, Collection<Tensor> uses, Supplier<Tensor[]> part) {
    List<Tensor> made = new ArrayList<>();
    boolean[] recorded = {false};
    capture.part(
        () -> {
          if (recorded[0]) {
            Scope.run(
                () -> {
                  Tensor[] again = part.get();
                });
          } else {
            recorded[0] = true;
            made.addAll(List.of(Scope.runAll(part)));
          }
        });
    return made.toArray(Tensor[]::new);
  }

  private static Tensor hold(Tensor t, List<Storage> held) {
    t.storage().retain();
    held.add(t.storage());
    return t;
  }

  /** {@inheritDoc} Returns at once; the device works meanwhile. */
  @Override
  public Tensor[] replay() {
    capture.run();
    mutated.forEach(Storage::changed);
    return results.clone();
  }

  /** The number of launches, fills and copies. */
  public long nodes() {
    return capture.nodes();
  }

  @Override
  public void close() {
    held.forEach(Storage::release);
    held.clear();
    capture.close();
  }

  /** Notes what is written in place, for its version changes at every replay. */
  private record Mutations(Executor inner, Set<Storage> storages) implements Decorator {
    @Override
    public Mutations over(Executor other) {
      return new Mutations(other, storages);
    }

    @Override
    public Tensor[] execute(Op op, Tensor... inputs) {
      Tensor[] out = inner.execute(op, inputs);
      if (op instanceof InPlaceOp inPlace) {
        for (int i : inPlace.mutated()) {
          storages.add(inputs[i].storage());
        }
      }
      return out;
    }
  }
}
