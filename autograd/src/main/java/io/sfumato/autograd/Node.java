// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.exec.Saved;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** One recorded op: what its backward will be given. Holds the storages of the saved tensors. */
final class Node implements Backward {
  /** From the gradients of the outputs to those of the inputs. */
  @FunctionalInterface
  interface Pullback {
    /** As {@link io.sfumato.tensor.exec.Differentiable#backward}. */
    @Nullable Tensor[] apply(Backward context);
  }

  final String name;
  final int[] in; // slots; -1 where the input is not tracked
  final int[] out; // slots; -1 where the output is not floating
  private final String path = ModulePath.current();
  private final Pullback pullback;
  private final TensorSpec[] inSpecs;
  private final TensorSpec[] outSpecs;
  private final @Nullable Tensor[] savedIn;
  private final @Nullable Tensor[] savedOut;
  private final int[] versions; // of the saved inputs, then of the saved outputs
  private @Nullable Tensor[] grads = {};

  Node(
      String name,
      Pullback pullback,
      Tensor[] inputs,
      int[] in,
      Tensor[] outputs,
      int[] out,
      Saved saved) {
    this.name = name;
    this.pullback = pullback;
    this.in = in;
    this.out = out;
    this.inSpecs = Arrays.stream(inputs).map(Tensor::spec).toArray(TensorSpec[]::new);
    this.outSpecs = Arrays.stream(outputs).map(Tensor::spec).toArray(TensorSpec[]::new);
    this.savedIn = new Tensor[inputs.length];
    this.savedOut = new Tensor[outputs.length];
    this.versions = new int[inputs.length + outputs.length];
    for (int i : saved.inputs()) {
      savedIn[i] = hold(inputs[i], i);
    }
    for (int i : saved.outputs()) {
      savedOut[i] = hold(outputs[i], inputs.length + i);
    }
  }

  private Tensor hold(Tensor t, int place) {
    t.storage().retain();
    versions[place] = t.storage().version();
    return t;
  }

  /** Runs backward with these gradients of the outputs. */
  @Nullable Tensor[] pull(@Nullable Tensor[] gradients) {
    ModulePath.push((path.isEmpty() ? "" : path + " ") + "(backward of " + name + ")");
    try {
      checkVersions("input", savedIn, 0);
      checkVersions("output", savedOut, savedIn.length);
      grads = gradients;
      @Nullable Tensor[] result = pullback.apply(this);
      check(result);
      return result;
    } finally {
      grads = new Tensor[0];
      ModulePath.pop();
    }
  }

  /** Lets go of what was saved. */
  void release() {
    for (@Nullable Tensor[] side : new @Nullable Tensor[][] {savedIn, savedOut}) {
      for (int i = 0; i < side.length; i++) {
        Tensor t = side[i];
        if (t != null) {
          side[i] = null;
          t.storage().release();
        }
      }
    }
  }

  private void checkVersions(String what, @Nullable Tensor[] saved, int place) {
    for (int i = 0; i < saved.length; i++) {
      Tensor t = saved[i];
      if (t != null && t.storage().version() != versions[place + i]) {
        throw new IllegalStateException(
            name
                + ": "
                + what
                + " "
                + i
                + " "
                + t.spec()
                + " is needed by backward but was overwritten in place after forward"
                + where()
                + "; move the in-place operation behind backward, or let it write into a copy");
      }
    }
  }

  private void check(@Nullable Tensor[] result) {
    if (result.length != in.length) {
      throw new IllegalStateException(
          name
              + ": backward must return one gradient per input; got "
              + result.length
              + " for "
              + in.length
              + where());
    }
    for (int i = 0; i < in.length; i++) {
      Tensor g = result[i];
      if (g != null && in[i] >= 0 && !g.spec().equals(inSpecs[i])) {
        throw new IllegalStateException(
            name
                + ": the gradient of input "
                + i
                + " must be "
                + inSpecs[i]
                + "; got "
                + g.spec()
                + where());
      }
    }
  }

  private String where() {
    return path.isEmpty() ? "" : "; at " + path;
  }

  @Override
  public Tensor input(int i) {
    return saved("input", savedIn[i], i);
  }

  @Override
  public Tensor output(int i) {
    return saved("output", savedOut[i], i);
  }

  private Tensor saved(String what, @Nullable Tensor t, int i) {
    if (t == null) {
      throw new IllegalStateException(
          name + ": backward asks for " + what + " " + i + ", which saved(needs) did not declare");
    }
    return t;
  }

  @Override
  public TensorSpec inputSpec(int i) {
    return inSpecs[i];
  }

  @Override
  public TensorSpec outputSpec(int i) {
    return outSpecs[i];
  }

  @Override
  public int inputs() {
    return in.length;
  }

  @Override
  public @Nullable Tensor gradOrNull(int i) {
    return grads[i];
  }

  @Override
  public Tensor grad(int i) {
    Tensor g = grads[i];
    return g == null ? Tensor.zeros(outSpecs[i]) : g;
  }

  @Override
  public boolean needs(int i) {
    return in[i] >= 0;
  }
}
