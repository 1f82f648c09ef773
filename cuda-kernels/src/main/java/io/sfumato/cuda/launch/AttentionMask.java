// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Attention;

/**
 * Where the kernels of attention find the mask.
 *
 * @param address of its first element; 0 if there is none
 * @param strides of the mask seen as [B, H, Lq, Lk]
 */
record AttentionMask(long address, long[] strides) {
  private static final int AXES = 4;
  private static final int KEYS = 3;
  private static final int EIGHT = 8; // keys that kernels for Hopper read at once
  private static final int ALIGNMENT = 16;

  /** The mask where it lies, for the kernels for Hopper a copy if it does not lie in eights. */
  static AttentionMask of(Staging staging, Attention op, Tensor[] in, boolean hopper) {
    if (op.mask() == Attention.Mask.NONE) {
      return new AttentionMask(0, new long[AXES]);
    }
    Tensor t = in[AXES - 1];
    Shape scores = in[0].shape().with(KEYS, in[1].dim(2));
    Layout layout = t.layout();
    while (layout.shape().rank() < AXES) {
      layout = layout.unsqueeze(0);
    }
    if (!hopper || isInEights(layout.expand(layout.shape().with(KEYS, scores.dim(KEYS))), t)) {
      return new AttentionMask(t.address(), layout.expand(scores).strides());
    }
    for (int i = 0; i < KEYS; i++) { // once what is the same along an axis
      layout = layout.stride(i) == 0 ? layout.slice(i, 0, 1, 1) : layout;
    }
    int keys = scores.dim(KEYS);
    layout = layout.expand(layout.shape().with(KEYS, keys));
    Shape padded = layout.shape().with(KEYS, (keys + EIGHT - 1) / EIGHT * EIGHT);
    Layout wanted = Layout.contiguous(padded).slice(KEYS, 0, keys, 1);
    int bytes = t.dtype().bytes();
    long address = staging.allocate(padded.numel() * bytes);
    new Copies(Gpu.of(t), bytes).add(t.address(), layout, address, wanted).run();
    return new AttentionMask(address, wanted.expand(scores).strides());
  }

  /** Whether each row has whole eights of keys and begins at a multiple of eight. */
  private static boolean isInEights(Layout layout, Tensor t) {
    boolean is = layout.stride(KEYS) == 1 && layout.shape().dim(KEYS) % EIGHT == 0;
    for (int i = 0; i < KEYS; i++) {
      is &= layout.shape().dim(i) == 1 || layout.stride(i) % EIGHT == 0;
    }
    return is && t.address() % ALIGNMENT == 0;
  }
}
