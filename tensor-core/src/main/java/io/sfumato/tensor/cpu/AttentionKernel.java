// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionPiece.Operands;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention {@code softmax(scale q kᵀ + mask) v} in f32, or in bf16 on a
 * processor with a {@link MatrixUnit}, that never stores the scores beyond one block
 * (FlashAttention, Dao et al. 2022), on all threads. A query that sees no key gets the output 0 and
 * the log-sum-exp negative infinity, as in PyTorch. Results do not depend on the number of threads.
 */
public final class AttentionKernel {
  private AttentionKernel() {}

  /** Why bf16 operands must be widened, or null. */
  public static @Nullable String refuseHalves(int dim) {
    if (Loops.tile().unit() == null) {
      return "needs f32, or a processor with a matrix unit";
    }
    return dim <= HalfOperands.K_BLOCK ? null : "needs heads of at most " + HalfOperands.K_BLOCK;
  }

  /**
   * Forward.
   *
   * @param p sizes and options
   * @param q queries [B, H, Lq, D]
   * @param k keys [B, H, Lk, D]
   * @param v values [B, H, Lk, D]
   * @param out result [B, H, Lq, D]; must not overlap the operands
   * @param lse {@code log Σ e^score} [B, H, Lq], contiguous, written; 0 to leave it out
   */
  public static void forward(
      AttentionProblem p, Matrix q, Matrix k, Matrix v, Matrix out, long lse) {
    new AttentionForward(p, q, k, v, out, lse).run();
  }

  /**
   * Backward; scores are computed again from q, k and the log-sum-exp.
   *
   * @param p sizes and options of the forward pass
   * @param q queries [B, H, Lq, D]
   * @param k keys [B, H, Lk, D]
   * @param v values [B, H, Lk, D]
   * @param out result of the forward pass [B, H, Lq, D]
   * @param lse log-sum-exp of the forward pass [B, H, Lq]
   * @param dout gradient of the result [B, H, Lq, D]
   * @param dq gradient of q, or null to leave it out
   * @param dk gradient of k, or null to leave it out
   * @param dv gradient of v, or null to leave it out
   */
  public static void backward(
      AttentionProblem p,
      Matrix q,
      Matrix k,
      Matrix v,
      Matrix out,
      long lse,
      Matrix dout,
      @Nullable Matrix dq,
      @Nullable Matrix dk,
      @Nullable Matrix dv) {
    new AttentionBackward(new Operands(p, q, k, v, dout, dq, dk, dv), out, lse).run();
  }
}
