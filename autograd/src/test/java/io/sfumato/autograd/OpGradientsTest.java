// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.autograd.check.GradCheck;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.cases.CaseTables;
import io.sfumato.tensor.ops.cases.OpCase;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Gradients of every op that has them, for every case of every table. Fused backwards, which are
 * composites, are covered by the second derivatives of their forwards.
 */
class OpGradientsTest {
  static Stream<OpCase> cases() {
    return CaseTables.cases().stream()
        .filter(c -> c.op() instanceof Differentiable)
        .filter(c -> c.noGradient() == null && c.dtypes().contains(DType.F64))
        .filter(c -> variables(c).length > 0);
  }

  static Stream<OpCase> secondOrder() {
    return cases().filter(OpCase::secondOrder);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void gradientIsThatOfCentralDifferences(OpCase c) {
    Scope.run(
        () -> {
          Tensor[] in = c.tensors(DType.F64);
          GradCheck.Report report = GradCheck.of(function(c, in)).check(chosen(c, in));
          assertTrue(report.passed(), () -> c + ": " + report);
        });
  }

  @ParameterizedTest
  @MethodSource("secondOrder")
  void secondDerivativeIsThatOfCentralDifferences(OpCase c) {
    Scope.run(
        () -> {
          Tensor[] in = c.tensors(DType.F64);
          GradCheck.Report report =
              GradCheck.of(function(c, in)).tolerance(1e-6).checkSecondOrder(chosen(c, in));
          assertTrue(report.passed(), () -> c + ": " + report);
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void onlyWantedGradientsAreComputedFromWhatWasDeclared(OpCase c) {
    Differentiable op = (Differentiable) c.op();
    Scope.run(
        () -> {
          Tensor[] in = c.tensors(DType.F64);
          Tensor[] out = Executor.current().execute(op, in);
          boolean[] all = new boolean[in.length];
          for (int i : variables(c)) {
            all[i] = true;
          }
          @Nullable Tensor[] full = op.backward(new Context(op, in, out, all));
          assertEquals(in.length, full.length, "one gradient per input");
          for (int i : variables(c)) {
            boolean[] one = new boolean[in.length];
            one[i] = true;
            @Nullable Tensor[] single = op.backward(new Context(op, in, out, one));
            assertEquals(in.length, single.length, "one gradient per input");
            for (int j = 0; j < in.length; j++) {
              if (j != i) {
                assertNull(single[j], "gradient " + j + " when only " + i + " is wanted");
              }
            }
            Tensor a = assertGradient(full[i], in[i]);
            Tensor b = assertGradient(single[i], in[i]);
            double scale = Arrays.stream(a.toDoubleArray()).map(Math::abs).max().orElse(0);
            assertArrayEquals(a.toDoubleArray(), b.toDoubleArray(), 1e-12 * (1 + scale));
          }
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void typesOfGradientsAreThoseOfInputs(OpCase c) {
    Differentiable op = (Differentiable) c.op();
    for (DType dtype : c.half() ? new DType[] {DType.F32, DType.BF16} : new DType[] {DType.F32}) {
      if (!c.dtypes().contains(dtype)) {
        continue;
      }
      Scope.run(
          () -> {
            Tensor[] in = c.tensors(dtype);
            Tensor[] out = Executor.current().execute(op, in);
            boolean[] all = new boolean[in.length];
            for (int i : variables(c)) {
              all[i] = true;
            }
            @Nullable Tensor[] grads = op.backward(new Context(op, in, out, all));
            for (int i : variables(c)) {
              assertGradient(grads[i], in[i]);
            }
          });
    }
  }

  private static Tensor assertGradient(@Nullable Tensor g, Tensor input) {
    assertNotNull(g, "a wanted gradient");
    assertEquals(input.spec(), g.spec(), "the gradient is like the input");
    return g;
  }

  /** The numbers of the inputs that get a gradient. */
  private static int[] variables(OpCase c) {
    return IntStream.range(0, c.inputs().size())
        .filter(i -> c.inputs().get(i).dtype(DType.F64).isFloating())
        .filter(i -> !c.constants().contains(i))
        .toArray();
  }

  private static Tensor[] chosen(OpCase c, Tensor[] in) {
    return IntStream.of(variables(c)).mapToObj(i -> in[i]).toArray(Tensor[]::new);
  }

  /** The op's differentiable results as a function of its variable inputs. */
  private static Function<Tensor[], Tensor[]> function(OpCase c, Tensor[] in) {
    int[] variables = variables(c);
    Function<Tensor[], Tensor[]> all =
        xs -> {
          Tensor[] inputs = in.clone();
          for (int k = 0; k < xs.length; k++) {
            inputs[variables[k]] = xs[k];
          }
          return Executor.current().execute(c.op(), inputs);
        };
    Tensor[] out = all.apply(chosen(c, in));
    assumeTrue(out[0].dtype() == DType.F64, "differences need f64");
    int[] outputs =
        IntStream.range(0, out.length)
            .filter(i -> out[i].dtype().isFloating())
            .filter(i -> i == 0 || hasBackward(xs -> all.apply(xs)[i], chosen(c, in)))
            .toArray();
    return xs -> {
      Tensor[] results = all.apply(xs);
      return IntStream.of(outputs).mapToObj(i -> results[i]).toArray(Tensor[]::new);
    };
  }

  /** Whether gradients of this result are not refused, as those of by-products are. */
  private static boolean hasBackward(Function<Tensor[], Tensor> result, Tensor[] xs) {
    try {
      Autograd.grad(v -> Num.sumTo(result.apply(v), Shape.SCALAR), xs);
      return true;
    } catch (NotDifferentiableException e) {
      return false;
    }
  }

  /** Gives backward exactly what saved(needs) declared; gradients of ones. */
  private static final class Context implements Backward {
    private final Tensor[] in;
    private final Tensor[] out;
    private final boolean[] needs;
    private final List<Integer> savedIn = new ArrayList<>();
    private final List<Integer> savedOut = new ArrayList<>();

    Context(Differentiable op, Tensor[] in, Tensor[] out, boolean[] needs) {
      this.in = in;
      this.out = out;
      this.needs = needs;
      Saved saved = op.saved(needs.clone());
      IntStream.of(saved.inputs()).forEach(savedIn::add);
      IntStream.of(saved.outputs()).forEach(savedOut::add);
    }

    @Override
    public Tensor input(int i) {
      assertFalse(!savedIn.contains(i), "input " + i + " was not declared");
      return in[i];
    }

    @Override
    public Tensor output(int i) {
      assertFalse(!savedOut.contains(i), "output " + i + " was not declared");
      return out[i];
    }

    @Override
    public TensorSpec inputSpec(int i) {
      return in[i].spec();
    }

    @Override
    public TensorSpec outputSpec(int i) {
      return out[i].spec();
    }

    @Override
    public int inputs() {
      return in.length;
    }

    @Override
    public @Nullable Tensor gradOrNull(int i) {
      return i == 0 ? grad(0) : null;
    }

    @Override
    public Tensor grad(int i) {
      return i == 0 ? Tensor.full(out[0].spec(), 1) : Tensor.zeros(out[i].spec());
    }

    @Override
    public boolean needs(int i) {
      return needs[i];
    }
  }
}
