// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Recording;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A step that is the same work each time, on new values: at first it runs as it is, then it is
 * recorded and replayed, on CUDA as one graph ({@link Backend#record}). Small models spend most of
 * a step on launching kernels, which a graph spares.
 *
 * {@snippet :
 * Tensor x = …, noise = …;                                     // on the device; overwritten below
 * try (GraphedStep step = GraphedStep.training(device, optimizer, parameters,
 *     () -> NN.mse(model.call(x), noise))) {
 *   for (Batch batch : batches) {
 *     Updates.copy(x, batch.images());
 *     Updates.copy(noise, batch.noise());
 *     step.run();
 *   }
 * }
 * }
 *
 * <p>Tensors that the step reads are the same objects each time; give them new values in place
 * between steps. Numbers that the step computes on the host (timesteps as {@code double[]}, keys of
 * random draws) stay those of the recording, unless in a {@link io.sfumato.tensor.exec.Varying}
 * part; optimisers and averages are such parts, so learning rates and step numbers are always those
 * of the moment. A step must not read values back.
 */
public final class GraphedStep implements AutoCloseable {
  private static final int FREE_RUNS = 2; // states and caches are made in these

  private final Backend backend;
  private final Supplier<Tensor[]> body;
  private int runs;
  private @Nullable Recording recording;

  /**
   * A step.
   *
   * @param device where it runs
   * @param body the step; returns what is wanted of its results
   */
  public GraphedStep(Device device, Supplier<Tensor[]> body) {
    this.backend = Backends.of(device);
    this.body = body;
  }

  /**
   * A training step: loss, gradients, optimiser. {@link #run} returns the loss.
   *
   * @param device where it runs
   * @param optimizer updates the parameters
   * @param parameters what to train
   * @param loss computes the loss
   */
  public static GraphedStep training(
      Device device, Optimizer optimizer, List<Parameter> parameters, Supplier<Tensor> loss) {
    return training(device, optimizer, parameters, StepOptions.NONE, loss);
  }

  /**
   * A training step with what belongs to it: a limit of the gradients' norm, averages.
   *
   * @param device where it runs
   * @param optimizer updates the parameters
   * @param parameters what to train
   * @param options of the optimizer's step
   * @param loss computes the loss
   */
  public static GraphedStep training(
      Device device,
      Optimizer optimizer,
      List<Parameter> parameters,
      StepOptions options,
      Supplier<Tensor> loss) {
    return new GraphedStep(
        device,
        () -> {
          Autograd.Result result = Autograd.valueAndGrad(parameters, loss);
          optimizer.step(result.gradients(), options);
          return new Tensor[] {result.value()};
        });
  }

  /**
   * Does the step.
   *
   * @return its results; read or copy them before the next step and before this is closed
   */
  public Tensor[] run() {
    Recording recorded = recording;
    if (recorded == null) {
      if (runs < FREE_RUNS) {
        runs++;
        return body.get();
      }
      recorded = backend.record(body);
      recording = recorded;
    }
    return recorded.replay();
  }

  /** Forgets the recording. */
  @Override
  public void close() {
    if (recording != null) {
      recording.close();
      recording = null;
    }
  }
}
