// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;

/**
 * How an estimate of x₀ is limited: not at all, to a range, or by its own quantile (dynamic
 * thresholding, Saharia et al., 2022), which wins.
 *
 * @param dynamic whether by the quantile
 * @param ratio which quantile of |x₀|
 * @param most the most that the quantile may be; 1 is the least
 * @param range the range ±range otherwise; infinite for none
 */
record X0Limit(boolean dynamic, double ratio, double most, double range) {
  static X0Limit of(SchedulerConfig c) {
    boolean dynamic = c.flag("thresholding");
    return new X0Limit(
        dynamic,
        dynamic ? c.number("dynamic_thresholding_ratio") : 1,
        dynamic ? c.number("sample_max_value") : 1,
        c.flag("clip_sample") ? c.number("clip_sample_range") : Double.POSITIVE_INFINITY);
  }

  /** Only dynamic thresholding, for samplers that know no other limit. */
  X0Limit dynamicOnly() {
    return new X0Limit(dynamic, ratio, most, Double.POSITIVE_INFINITY);
  }

  Tensor apply(Tensor x0) {
    if (dynamic) {
      return threshold(x0);
    }
    return Double.isInfinite(range) ? x0 : Num.clamp(x0, -range, range);
  }

  /**
   * Clips each sample to its own quantile of |x₀| and divides by it; no value leaves the device.
   */
  private Tensor threshold(Tensor x0) {
    int batch = x0.dim(0);
    int n = Math.toIntExact(x0.numel() / batch);
    float rank = (float) ratio * (n - 1);
    int below = (int) rank;
    int top = n - below; // the entries from the quantile on
    Tensor flat = Shaping.reshape(x0, batch, n).abs();
    Tensor largest = Num.topk(flat, top, 1, true).values(); // [B, top], falling
    Tensor low = largest.slice(1, top - 1, top);
    Tensor quantile = low;
    if (top > 1) {
      Tensor high = largest.slice(1, top - 2, top - 1);
      quantile = low.add(high.sub(low).mul(rank - below));
    }
    int[] shape = new int[x0.rank()];
    Arrays.fill(shape, 1);
    shape[0] = batch;
    Tensor limit = Num.clamp(quantile, Math.min(1, most), most).contiguous().reshape(shape);
    return Num.minimum(Num.maximum(x0, limit.neg()), limit).div(limit);
  }
}
