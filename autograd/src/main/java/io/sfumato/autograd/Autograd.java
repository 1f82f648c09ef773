// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Autocast;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Reshape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Reverse-mode differentiation of regions of code.
 *
 * {@snippet :
 * try (var step = Scope.open()) {
 *   var result = Autograd.valueAndGrad(model.parameters(), () -> NN.mse(model.call(x), target));
 *   optimizer.step(result.gradients());
 * }
 * }
 *
 * <p>Inside a region, ops that use a parameter (or a result computed from one) are recorded; what
 * backward needs is kept, all else is freed as its scope closes. When the region ends, backward has
 * run and everything kept is let go, also after an exception. Values and gradients belong to the
 * scope that was current at the call. Regions nest: gradients taken inside a region are themselves
 * differentiable by the outer one.
 */
public final class Autograd {
  private Autograd() {}

  /**
   * A value with its gradients.
   *
   * @param value the loss, a scalar
   * @param gradients of the loss with respect to the parameters
   * @param extra further results of the region, which are constants for backward
   */
  public record Result(Tensor value, Gradients gradients, List<Tensor> extra) {}

  /**
   * A value with vector-Jacobian products.
   *
   * @param value the function's value
   * @param gradients one per input, of its shape and type; zeros where the value does not depend on
   *     the input
   */
  public record Pullback(Tensor value, List<Tensor> gradients) {}

  /**
   * Computes a loss and its gradients with respect to parameters.
   *
   * @param parameters what to differentiate by; all else is constant and costs nothing
   * @param loss computes a floating tensor with one element
   * @throws NotDifferentiableException at the call of an op that depends on a parameter and has no
   *     backward, and if the loss depends on none of the parameters
   * @throws ShapeException if the loss has more than one element
   * @throws DTypeException if the loss is not floating
   * @throws IllegalStateException if a tensor that backward needs was overwritten in place
   */
  public static Result valueAndGrad(Collection<Parameter> parameters, Supplier<Tensor> loss) {
    return valueAndGradWithExtra(parameters, () -> new Tensor[] {loss.get()});
  }

  /**
   * As {@link #valueAndGrad}, for a region with further results: predictions, parts of the loss.
   *
   * @param results computes the loss, followed by what else shall outlive the region
   */
  public static Result valueAndGradWithExtra(
      Collection<Parameter> parameters, Supplier<Tensor[]> results) {
    return valueAndGradWithExtra(parameters, results, null);
  }

  /**
   * As {@link #valueAndGradWithExtra(Collection, Supplier)}, telling a listener of gradients while
   * backward still computes others.
   *
   * @param listener is told of each parameter once; null for none
   */
  public static Result valueAndGradWithExtra(
      Collection<Parameter> parameters,
      Supplier<Tensor[]> results,
      @Nullable GradientListener listener) {
    if (parameters.isEmpty()) {
      throw new IllegalArgumentException(
          "valueAndGrad: there are no parameters to differentiate by");
    }
    List<Parameter> distinct = List.copyOf(new LinkedHashSet<>(parameters));
    List<Tensor> leaves = distinct.stream().map(Parameter::value).toList();
    try (Tape tape = tapeFor(leaves)) {
      Tensor[] out = Scope.runAll(() -> Executor.with(recording(tape), results));
      Tensor loss = out[0];
      checkLoss(loss);
      if (tape.slot(loss) < 0) {
        throw new NotDifferentiableException(
            "valueAndGrad: the loss depends on none of the "
                + leaves.size()
                + " parameters ("
                + distinct.getFirst().name()
                + ", …); was it computed inside the region, and outside of noGrad and detach?");
      }
      @Nullable Tensor[] found =
          tape.backward(
              new Tensor[] {loss},
              new Tensor[] {one(loss)},
              leaves,
              listener == null
                  ? null
                  : (leaf, gradient) -> listener.complete(distinct.get(leaf), gradient));
      List<Tensor> extra = List.copyOf(Arrays.asList(out).subList(1, out.length));
      return new Result(loss, new Gradients(distinct, found), extra);
    }
  }

  /**
   * The gradient of a scalar function. Only the argument counts as variable, even if {@code
   * function} also uses {@code x} from outside.
   *
   * @param function computes a floating tensor with one element
   * @param x where
   * @return a tensor like {@code x}; zeros if the function does not depend on it
   */
  public static Tensor grad(Function<Tensor, Tensor> function, Tensor x) {
    return grad(xs -> function.apply(xs[0]), new Tensor[] {x})[0];
  }

  /** As {@link #grad(Function, Tensor)} for several arguments. */
  public static Tensor[] grad(Function<Tensor[], Tensor> function, Tensor... xs) {
    return pullback(function, xs, null).gradients().toArray(Tensor[]::new);
  }

  /**
   * A function's value and its vector-Jacobian products {@code cotangentᵀ ∂function/∂x}.
   *
   * @param function computes a floating tensor of any shape
   * @param xs where
   * @param cotangent a tensor like the value
   */
  public static Pullback vjp(Function<Tensor[], Tensor> function, Tensor[] xs, Tensor cotangent) {
    return pullback(function, xs, cotangent);
  }

  private static Pullback pullback(
      Function<Tensor[], Tensor> function, Tensor[] xs, @Nullable Tensor cotangent) {
    for (Tensor x : xs) {
      if (!x.dtype().isFloating()) {
        throw new DTypeException("grad: arguments must be floating; got " + x.spec());
      }
    }
    // Views with identities of their own, so that the same tensor used from outside is a constant.
    Tensor[] arguments =
        Arrays.stream(xs).map(x -> Executor.run(new Reshape(x.shape()), x)).toArray(Tensor[]::new);
    List<Tensor> leaves = List.of(arguments);
    try (Tape tape = tapeFor(leaves)) {
      Tensor value =
          Scope.run(() -> Executor.with(recording(tape), () -> function.apply(arguments.clone())));
      Tensor seed = cotangent;
      if (seed == null) {
        checkLoss(value);
        seed = one(value);
      } else if (!seed.spec().equals(value.spec())) {
        throw new ShapeException(
            "vjp: the cotangent must be like the value " + value.spec() + "; got " + seed.spec());
      }
      @Nullable Tensor[] found = tape.backward(new Tensor[] {value}, new Tensor[] {seed}, leaves);
      List<Tensor> gradients = new ArrayList<>();
      for (int i = 0; i < xs.length; i++) {
        Tensor g = found[i];
        gradients.add(g == null ? Tensor.zeros(xs[i].spec()) : g);
      }
      return new Pullback(value, List.copyOf(gradients));
    }
  }

  /**
   * Runs {@code body} without recording: its results are constants for every enclosing region.
   *
   * @return what {@code body} returns, in the current scope as usual
   */
  public static <R> R noGrad(Supplier<R> body) {
    return Executor.with(Decorator.without(Executor.current(), Recorder.class), body);
  }

  /** The same values as a constant: a view of {@code x} that no region tracks. */
  public static Tensor detach(Tensor x) {
    return Tensor.view(x, x.layout());
  }

  /**
   * Runs {@code body} keeping only what goes in; backward computes it again (Chen et al. 2016,
   * "Training deep nets with sublinear memory cost"). Outside of regions it just runs {@code body}.
   *
   * <p>Parameters and results from outside that {@code body} uses get their gradients as usual.
   * What it uses from outside without being tracked, and is not an argument, must still be alive
   * when backward runs. It must do the same each time: random numbers come from keys made outside.
   *
   * @param body the region
   * @param inputs its arguments
   */
  public static Tensor checkpoint(Function<Tensor[], Tensor> body, Tensor... inputs) {
    return checkpointAll(xs -> new Tensor[] {body.apply(xs)}, inputs)[0];
  }

  /** As {@link #checkpoint} for a region with several results. */
  public static Tensor[] checkpointAll(Function<Tensor[], Tensor[]> body, Tensor... inputs) {
    return Checkpoint.run(body, inputs);
  }

  /** Whether a region records here. */
  public static boolean isRecording() {
    return Decorator.find(Executor.current(), Recorder.class) != null;
  }

  /** A tape that tracks {@code leaves}. Its backward keeps the types that forward used. */
  private static Tape tapeFor(List<Tensor> leaves) {
    for (Tensor t : leaves) {
      if (!t.dtype().isFloating()) {
        throw new DTypeException("only floating tensors have gradients; got " + t.spec());
      }
    }
    Tape tape = Tape.on(Decorator.without(Executor.current(), Autocast.class));
    leaves.forEach(tape::track);
    return tape;
  }

  /** The current executor with a recorder, which must see the casts of autocasting. */
  private static Executor recording(Tape tape) {
    return Decorator.beneath(
        Executor.current(), Autocast.class, inner -> new Recorder(tape, inner));
  }

  private static Tensor one(Tensor loss) {
    return Tensor.full(loss.spec(), 1);
  }

  private static void checkLoss(Tensor loss) {
    if (loss.numel() != 1) {
      throw new ShapeException(
          "the loss must have one element (take a mean or a sum); got " + loss.spec());
    }
    if (!loss.dtype().isFloating()) {
      throw new DTypeException("the loss must be floating; got " + loss.spec());
    }
  }
}
