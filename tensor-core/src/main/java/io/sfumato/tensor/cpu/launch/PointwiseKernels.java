// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.AddInPlace;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.Binary;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Clamp;
import io.sfumato.tensor.ops.Compare;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.CopyInto;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CrossEntropyBackward;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.Elu;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.Full;
import io.sfumato.tensor.ops.GatedResidual;
import io.sfumato.tensor.ops.GatedResidualBackward;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.GatedUnitBackward;
import io.sfumato.tensor.ops.LeakyRelu;
import io.sfumato.tensor.ops.LionStep;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSoftmaxBackward;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.Logical;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.SgdStep;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import io.sfumato.tensor.ops.Softplus;
import io.sfumato.tensor.ops.SquaredNorm;
import io.sfumato.tensor.ops.SumTo;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.UnaryBackward;
import io.sfumato.tensor.ops.Variance;
import io.sfumato.tensor.ops.Where;

/** The kernels of elementwise ops, moves, reductions, losses and updates, one line each. */
public final class PointwiseKernels {
  private PointwiseKernels() {}

  /** Adds them to {@code table}. */
  public static KernelTable addTo(KernelTable table) {
    return table
        .add(Unary.class, PointwiseLaunch.unary())
        .add(UnaryBackward.class, PointwiseLaunch.unaryBackward())
        .add(Affine.class, PointwiseLaunch.affine())
        .add(Clamp.class, PointwiseLaunch.clamp())
        .add(PowScalar.class, PointwiseLaunch.powScalar())
        .add(LeakyRelu.class, PointwiseLaunch.leakyRelu())
        .add(Elu.class, PointwiseLaunch.elu())
        .add(Softplus.class, PointwiseLaunch.softplus())
        .add(Binary.class, new BinaryLaunch())
        .add(GatedResidual.class, new GatedLaunch.Forward())
        .add(GatedResidualBackward.class, new GatedLaunch.Backward())
        .add(GatedUnit.class, new GatedUnitLaunch.Forward())
        .add(GatedUnitBackward.class, new GatedUnitLaunch.Backward())
        .add(Compare.class, ChoiceLaunch.compare())
        .add(Logical.class, ChoiceLaunch.logical())
        .add(Where.class, ChoiceLaunch.where())
        .add(Contiguous.class, MoveLaunch.contiguous())
        .add(Cast.class, MoveLaunch.cast())
        .add(CopyAll.class, MoveLaunch.copyAll())
        .add(CopyInto.class, MoveLaunch.copyInto())
        .add(Full.class, MoveLaunch.full())
        .add(Reduce.class, ReduceLaunch.reduce())
        .add(SumTo.class, ReduceLaunch.sumTo())
        .add(Softmax.class, LineLaunch.softmax())
        .add(SoftmaxBackward.class, LineLaunch.softmaxBackward())
        .add(LogSoftmax.class, LineLaunch.logSoftmax())
        .add(LogSoftmaxBackward.class, LineLaunch.logSoftmaxBackward())
        .add(CumSum.class, LineLaunch.cumsum())
        .add(LogSumExp.class, LineLaunch.logSumExp())
        .add(Variance.class, LineLaunch.variance())
        .add(ArgReduce.class, LineLaunch.argReduce())
        .add(Mse.class, new LossLaunch.MseForward())
        .add(MseBackward.class, new LossLaunch.MseGradient())
        .add(CrossEntropy.class, new LossLaunch.CrossEntropyForward())
        .add(CrossEntropyBackward.class, new LossLaunch.CrossEntropyGradient())
        .add(AdamWStep.class, new UpdateLaunch.AdamW())
        .add(SgdStep.class, new UpdateLaunch.Sgd())
        .add(LionStep.class, new UpdateLaunch.Lion())
        .add(EmaStep.class, new UpdateLaunch.Ema())
        .add(AddInPlace.class, new UpdateLaunch.Add())
        .add(SquaredNorm.class, new UpdateLaunch.Norm());
  }
}
