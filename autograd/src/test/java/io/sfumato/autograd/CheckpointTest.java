// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Regions that are computed twice to keep less. */
class CheckpointTest {
  private Scope scope;
  private Parameter w;
  private Parameter v;
  private Tensor x;

  @BeforeEach
  void open() {
    scope = Scope.open();
    w = new Parameter("w", random(1, 8, 8));
    v = new Parameter("v", random(2, 8, 8));
    x = random(3, 8, 8);
  }

  @AfterEach
  void close() {
    w.close();
    v.close();
    scope.close();
  }

  private static Tensor random(long seed, int... shape) {
    SplittableRandom r = new SplittableRandom(seed);
    float[] values = new float[(int) Shape.of(shape).numel()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) r.nextGaussian();
    }
    return Tensor.of(values, shape);
  }

  private static Tensor sum(Tensor t) {
    return Num.sumTo(t, Shape.SCALAR);
  }

  /** Uses its argument, two parameters and temporaries. */
  private Tensor block(Tensor h) {
    Tensor a = h.mul(w.value()).add(v.value());
    return a.mul(a).mul(h).add(w.value().mul(0.5));
  }

  private Gradients gradients(Function<Tensor, Tensor> block) {
    return Autograd.valueAndGrad(
            List.of(w, v), () -> sum(block.apply(block.apply(x.mul(w.value())).mul(0.1))))
        .gradients();
  }

  @Test
  void gradientsAreBitIdentical() {
    Gradients plain = gradients(this::block);
    Gradients again = gradients(h -> Autograd.checkpoint(t -> block(t[0]), h));
    for (Parameter p : List.of(w, v)) {
      assertArrayEquals(
          plain.asMap().get(p).toFloatArray(), again.asMap().get(p).toFloatArray(), 0f);
    }
  }

  @Test
  void nestedCheckpointsAreBitIdentical() {
    Gradients plain = gradients(this::block);
    Gradients again =
        gradients(
            h -> Autograd.checkpoint(t -> Autograd.checkpoint(s -> block(s[0]), t[0]).mul(1), h));
    for (Parameter p : List.of(w, v)) {
      assertArrayEquals(
          plain.asMap().get(p).toFloatArray(), again.asMap().get(p).toFloatArray(), 0f);
    }
  }

  @Test
  void lessIsKept() {
    long plain = peak(h -> block(block(block(h))));
    long again = peak(h -> Autograd.checkpoint(t -> block(block(block(t[0]))), h));
    assertTrue(again < plain, again + " buffers against " + plain);
  }

  private long peak(Function<Tensor, Tensor> body) {
    long[] kept = new long[1];
    Scope.run(
        () ->
            Autograd.valueAndGrad(
                List.of(w),
                () -> {
                  Tensor y = Scope.run(() -> body.apply(x.mul(w.value())));
                  kept[0] = CpuBackend.instance().memory().buffers();
                  return sum(y);
                }));
    return kept[0];
  }

  @Test
  void theRegionRunsTwice() {
    AtomicInteger runs = new AtomicInteger();
    Autograd.valueAndGrad(
        List.of(w),
        () ->
            sum(
                Autograd.checkpoint(
                    t -> {
                      runs.incrementAndGet();
                      return block(t[0]);
                    },
                    x)));
    assertEquals(2, runs.get());
  }

  @Test
  void withoutARegionItJustRuns() {
    AtomicInteger runs = new AtomicInteger();
    Autograd.checkpoint(
        t -> {
          runs.incrementAndGet();
          return t[0].mul(2);
        },
        x);
    assertEquals(1, runs.get());
  }

  @Test
  void argumentsPassThroughAndSeveralResultsWork() {
    Gradients plain =
        Autograd.valueAndGrad(
                List.of(w),
                () -> {
                  Tensor h = x.mul(w.value());
                  return sum(h.mul(h.mul(3)).add(h));
                })
            .gradients();
    Gradients again =
        Autograd.valueAndGrad(
                List.of(w),
                () -> {
                  Tensor h = x.mul(w.value());
                  Tensor[] r =
                      Autograd.checkpointAll(
                          t -> new Tensor[] {t[0], Tensor.ones(2), t[0].mul(3)}, h);
                  assertSame(r[1], Autograd.noGrad(() -> r[1]));
                  return sum(r[0].mul(r[2]).add(h));
                })
            .gradients();
    assertArrayEquals(
        plain.asMap().get(w).toFloatArray(), again.asMap().get(w).toFloatArray(), 1e-5f);
  }

  @Test
  void secondDerivativesGoThroughACheckpoint() {
    Tensor plain = penalty(this::block);
    Tensor again = penalty(h -> Autograd.checkpoint(t -> block(t[0]), h));
    assertArrayEquals(plain.toFloatArray(), again.toFloatArray(), 0f);
  }

  private Tensor penalty(Function<Tensor, Tensor> block) {
    return Autograd.valueAndGrad(
            List.of(w, v),
            () -> {
              Tensor d = Autograd.grad(t -> sum(block.apply(t)), x);
              return sum(d.mul(d)).mul(0.01);
            })
        .gradients()
        .asMap()
        .get(w);
  }

  @Test
  void anOpWithoutBackwardThrowsAtTheCall() {
    assertThrows(
        NotDifferentiableException.class,
        () ->
            Autograd.valueAndGrad(
                List.of(w),
                () -> {
                  Tensor y = Autograd.checkpoint(t -> Executor.run(new Opaque(), w.value()), x);
                  throw new AssertionError(y);
                }));
  }

  private record Opaque() implements Op {
    @Override
    public String name() {
      return "opaque";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      return List.of(in.getFirst());
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      System.arraycopy(in[0].data(), 0, out[0].data(), 0, in[0].numel());
    }
  }
}
