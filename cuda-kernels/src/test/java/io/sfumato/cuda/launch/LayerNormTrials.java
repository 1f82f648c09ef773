// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * Kernels of {@code layernorm_trials.cu}: layer normalisation of rows of bf16 with weights and
 * biases, up to 1280 values long.
 *
 * @param rows rows that a warp takes at once
 * @param depth how many steps the copies are ahead
 * @param resident blocks of a multiprocessor
 * @param streamed whether results leave the second cache first
 */
record LayerNormTrials(int rows, int depth, int resident, boolean streamed) {
  private static final int THREADS = 128;
  private static final int VECTORS = 5;

  static final List<LayerNormTrials> ALL =
      List.of(
          new LayerNormTrials(1, 2, 7, false),
          new LayerNormTrials(1, 3, 6, false),
          new LayerNormTrials(1, 3, 6, true),
          new LayerNormTrials(1, 4, 4, false),
          new LayerNormTrials(2, 2, 4, false),
          new LayerNormTrials(2, 2, 4, true));

  String kernel() {
    return "layer_norm_trial_" + rows + "_" + depth + "_" + resident + "_" + streamed;
  }

  /** Normalises the rows of x [rows, n]: out is y, means and deviations. */
  void run(Gpu gpu, Tensor x, Tensor weight, Tensor bias, double eps, Tensor[] out) {
    int n = x.dim(-1);
    int per = Math.toIntExact(x.numel() / n);
    NormRows all = new NormRows(gpu, DType.BF16, 1, per, n);
    int chunks = all.chunks(THREADS / 32 * rows, gpu.multiprocessors() * resident);
    gpu.kernel("layernorm_trials", kernel())
        .grid(chunks)
        .block(THREADS)
        .shared(16 * depth * rows * VECTORS * THREADS + 4 * n)
        .pointer(x)
        .pointer(out[0])
        .pointer(out[1])
        .pointer(out[2])
        .pointer(weight)
        .pointer(bias)
        .i64(0)
        .i64(0)
        .f32(0)
        .f32(eps)
        .i32(chunks)
        .i32(per)
        .i32(n)
        .run();
  }
}
