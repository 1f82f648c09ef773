// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import java.util.stream.LongStream;

/**
 * All shapes that kernels are measured at, each a layer of a real model: SD 1.5 at 512 x 512
 * pictures (latents 64 x 64), SDXL at 1024 x 1024 (latents 128 x 128), DiT-XL/2 at 256 x 256 (256
 * tokens) and 512 x 512 (1024 tokens). The batch is 2, as guidance needs it; a number at the end of
 * a name is the side of the feature map. Channel and head counts are those of the models' published
 * configurations (diffusers UNet2DConditionModel, DiTTransformer2DModel).
 */
public final class Shapes {
  private Shapes() {}

  /** C = A B with A [m, k] and B [k, n], either of them stored transposed. */
  public enum Gemm implements KernelShape {
    /** Square, as the goals name it. */
    SQUARE_1024(1024, 1024, 1024, false, false),
    /** Square, B transposed. */
    SQUARE_1024_NT(1024, 1024, 1024, false, true),
    /** Square, A transposed. */
    SQUARE_1024_TN(1024, 1024, 1024, true, false),
    /** Square, both transposed. */
    SQUARE_1024_TT(1024, 1024, 1024, true, true),
    /** Square, as the goals name it. */
    SQUARE_2048(2048, 2048, 2048, false, false),
    /** SD 1.5, attn2.to_k at 64: 2 x 77 tokens of text. */
    SD15_CONTEXT(154, 768, 320, false, true),
    /** SD 1.5, input gradient of ff.net.0 at 64. */
    SD15_INPUT_GRADIENT_64(8192, 2560, 320, false, false),
    /** SD 1.5, weight gradient of ff.net.0 at 64. */
    SD15_WEIGHT_GRADIENT_64(2560, 8192, 320, true, false),
    /** SD 1.5, time_embedding.linear_2: two rows. */
    SD15_TIME(2, 1280, 1280, false, true),
    /** SD 1.5, x Aᵀ of a LoRA of rank 8 on to_q at 64. */
    SD15_LORA_DOWN_64(8192, 320, 8, false, true),
    /** SD 1.5, (x Aᵀ) Bᵀ of the same. */
    SD15_LORA_UP_64(8192, 8, 320, false, true),
    /** DiT-XL/2, input gradient of fc1. */
    DIT_XL_INPUT_GRADIENT(512, 4608, 1152, false, false),
    /** DiT-XL/2, weight gradient of fc1. */
    DIT_XL_WEIGHT_GRADIENT(4608, 512, 1152, true, false),
    /** DiT-XL/2, norm1.linear: two rows. */
    DIT_XL_MODULATION(2, 1152, 6912, false, true);

    public final int m;
    public final int k;
    public final int n;
    public final boolean transposeA;
    public final boolean transposeB;

    Gemm(int m, int k, int n, boolean transposeA, boolean transposeB) {
      this.m = m;
      this.k = k;
      this.n = n;
      this.transposeA = transposeA;
      this.transposeB = transposeB;
    }

    @Override
    public String sizes() {
      return m + "x" + k + "x" + n + (transposeA ? " T" : " N") + (transposeB ? "T" : "N");
    }
  }

  /** y = x Wᵀ + b with x [rows, in] and W [out, in]. */
  public enum Linear implements KernelShape {
    /** SD 1.5, attn1.to_q, to_k, to_v, to_out at 64. */
    SD15_TO_Q_64(8192, 320, 320),
    /** SD 1.5, ff.net.0.proj at 64: GEGLU, twice 4 x 320 wide. */
    SD15_GEGLU_64(8192, 320, 2560),
    /** SD 1.5, ff.net.2 at 64. */
    SD15_FF_64(8192, 1280, 320),
    /** SD 1.5, ff.net.0.proj at 32. */
    SD15_GEGLU_32(2048, 640, 5120),
    /** SD 1.5, ff.net.0.proj at 16. */
    SD15_GEGLU_16(512, 1280, 10240),
    /** SDXL, attn1.to_q at 64. */
    SDXL_TO_Q_64(8192, 640, 640),
    /** SDXL, attn1.to_q at 32. */
    SDXL_TO_Q_32(2048, 1280, 1280),
    /** SDXL, ff.net.0.proj at 32. */
    SDXL_GEGLU_32(2048, 1280, 10240),
    /** SDXL, attn2.to_k at 32: 2 x 77 tokens of text. */
    SDXL_CONTEXT_32(154, 2048, 1280),
    /** DiT-XL/2 at 256, attn1.to_q, to_k, to_v, to_out. */
    DIT_XL_TO_Q(512, 1152, 1152),
    /** DiT-XL/2 at 256, ff.net.0.proj. */
    DIT_XL_FC1(512, 1152, 4608),
    /** DiT-XL/2 at 256, ff.net.2. */
    DIT_XL_FC2(512, 4608, 1152),
    /** DiT-XL/2 at 512, ff.net.0.proj. */
    DIT_XL_512_FC1(2048, 1152, 4608);

    public final int rows;
    public final int in;
    public final int out;

    Linear(int rows, int in, int out) {
      this.rows = rows;
      this.in = in;
      this.out = out;
    }

    @Override
    public String sizes() {
      return rows + "x" + in + "->" + out;
    }
  }

  /**
   * A convolution of [batch, in, side, side] with a square kernel, padded so that stride 1 keeps
   * the side.
   */
  public enum Conv implements KernelShape {
    /** SD 1.5, conv_in. */
    SD15_CONV_IN(2, 4, 320, 64, 3, 1),
    /** SD 1.5, down_blocks.0.resnets.0.conv1. */
    SD15_RES_64(2, 320, 320, 64, 3, 1),
    /** SD 1.5, down_blocks.1.resnets.1.conv1. */
    SD15_RES_32(2, 640, 640, 32, 3, 1),
    /** SD 1.5, down_blocks.2.resnets.1.conv1. */
    SD15_RES_16(2, 1280, 1280, 16, 3, 1),
    /** SD 1.5, mid_block.resnets.0.conv1. */
    SD15_RES_8(2, 1280, 1280, 8, 3, 1),
    /** SD 1.5, up_blocks.1.resnets.0.conv1, on a concatenated skip. */
    SD15_UP_16(2, 2560, 1280, 16, 3, 1),
    /** SD 1.5, down_blocks.0.downsamplers.0.conv. */
    SD15_DOWN_64(2, 320, 320, 64, 3, 2),
    /** SD 1.5, down_blocks.0.attentions.0.proj_in, 1 x 1. */
    SD15_PROJ_64(2, 320, 320, 64, 1, 1),
    /** SD 1.5, up_blocks.3.resnets.0.conv_shortcut, 1 x 1. */
    SD15_SHORTCUT_64(2, 960, 320, 64, 1, 1),
    /** SD 1.5, conv_out. */
    SD15_CONV_OUT(2, 320, 4, 64, 3, 1),
    /** SDXL, down_blocks.0.resnets.0.conv1. */
    SDXL_RES_128(2, 320, 320, 128, 3, 1),
    /** SDXL, down_blocks.1.resnets.1.conv1. */
    SDXL_RES_64(2, 640, 640, 64, 3, 1),
    /** SDXL, mid_block.resnets.0.conv1. */
    SDXL_RES_32(2, 1280, 1280, 32, 3, 1),
    /** DiT-XL/2 at 256, pos_embed.proj: patches of 2 x 2. */
    DIT_XL_PATCH(2, 4, 1152, 32, 2, 2);

    public final int batch;
    public final int in;
    public final int out;
    public final int side;
    public final int kernel;
    public final int stride;

    Conv(int batch, int in, int out, int side, int kernel, int stride) {
      this.batch = batch;
      this.in = in;
      this.out = out;
      this.side = side;
      this.kernel = kernel;
      this.stride = stride;
    }

    /** Zeros around the picture. */
    public int padding() {
      return kernel % 2 == 1 ? kernel / 2 : 0;
    }

    /** Side of the result. */
    public int outSide() {
      return (side + 2 * padding() - kernel) / stride + 1;
    }

    @Override
    public String sizes() {
      return batch + "x" + in + "->" + out + " @" + side + " k" + kernel + " s" + stride;
    }
  }

  /** softmax(q kᵀ / √width) v. */
  public enum Attention implements KernelShape {
    /** SD 1.5, attn1 at 64. */
    SD15_SELF_64(2, 8, 4096, 4096, 40),
    /** SD 1.5, attn1 at 32. */
    SD15_SELF_32(2, 8, 1024, 1024, 80),
    /** SD 1.5, attn1 at 16. */
    SD15_SELF_16(2, 8, 256, 256, 160),
    /** SD 1.5, attn1 of the middle block. */
    SD15_SELF_8(2, 8, 64, 64, 160),
    /** SD 1.5, attn2 at 64: 77 tokens of text. */
    SD15_CROSS_64(2, 8, 4096, 77, 40),
    /** SD 1.5, attn2 at 32. */
    SD15_CROSS_32(2, 8, 1024, 77, 80),
    /** SD 1.5, attn2 at 16. */
    SD15_CROSS_16(2, 8, 256, 77, 160),
    /** SDXL, attn1 at 64. */
    SDXL_SELF_64(2, 10, 4096, 4096, 64),
    /** SDXL, attn1 at 32. */
    SDXL_SELF_32(2, 20, 1024, 1024, 64),
    /** SDXL, attn2 at 32. */
    SDXL_CROSS_32(2, 20, 1024, 77, 64),
    /** DiT-XL/2 at 256, attn1. */
    DIT_XL_256(2, 16, 256, 256, 72),
    /** DiT-XL/2 at 512, attn1. */
    DIT_XL_512(2, 16, 1024, 1024, 72);

    public final int batch;
    public final int heads;
    public final int queries;
    public final int keys;
    public final int width;

    Attention(int batch, int heads, int queries, int keys, int width) {
      this.batch = batch;
      this.heads = heads;
      this.queries = queries;
      this.keys = keys;
      this.width = width;
    }

    @Override
    public String sizes() {
      return batch + "x" + heads + "x" + queries + "x" + keys + " d" + width;
    }
  }

  /** GroupNorm with 32 groups, then SiLU, on [batch, channels, side, side], channels-last. */
  public enum GroupNorm implements KernelShape {
    /** SD 1.5, down_blocks.0.resnets.0.norm1. */
    SD15_64(2, 320, 64),
    /** SD 1.5, down_blocks.1.resnets.1.norm1. */
    SD15_32(2, 640, 32),
    /** SD 1.5, down_blocks.2.resnets.1.norm1. */
    SD15_16(2, 1280, 16),
    /** SD 1.5, up_blocks.1.resnets.0.norm1, on a concatenated skip. */
    SD15_UP_16(2, 2560, 16),
    /** SDXL, down_blocks.0.resnets.0.norm1. */
    SDXL_128(2, 320, 128);

    public final int batch;
    public final int channels;
    public final int side;

    GroupNorm(int batch, int channels, int side) {
      this.batch = batch;
      this.channels = channels;
      this.side = side;
    }

    @Override
    public String sizes() {
      return batch + "x" + channels + " @" + side;
    }
  }

  /** Rows that are normalised: LayerNorm. */
  public enum LayerNorm implements KernelShape {
    /** SD 1.5, norm1, norm2, norm3 at 64. */
    SD15_64(8192, 320),
    /** SD 1.5, norm1 at 16. */
    SD15_16(512, 1280),
    /** SDXL, norm1 at 64. */
    SDXL_64(8192, 640),
    /** DiT-XL/2 at 256, norm1, norm3. */
    DIT_XL_256(512, 1152),
    /** DiT-XL/2 at 512, norm1, norm3. */
    DIT_XL_512(2048, 1152);

    public final int rows;
    public final int width;

    LayerNorm(int rows, int width) {
      this.rows = rows;
      this.width = width;
    }

    @Override
    public String sizes() {
      return rows + "x" + width;
    }
  }

  /** Softmax over the last axis. */
  public enum Softmax implements KernelShape {
    /** The attention scores of the middle block of the VAE of SD 1.5, one head, at 64. */
    VAE_MIDDLE(4096, 4096),
    /** SD 1.5, the scores of attn2 at 64. */
    SD15_CROSS_64(65536, 77),
    /** DiT-XL/2 at 256, the scores of attn1. */
    DIT_XL_256(8192, 256);

    public final int rows;
    public final int width;

    Softmax(int rows, int width) {
      this.rows = rows;
      this.width = width;
    }

    @Override
    public String sizes() {
      return rows + "x" + width;
    }
  }

  /** Activations of [rows, width]; a gated one reads twice the width. */
  public enum Activation implements KernelShape {
    /** SD 1.5, the GEGLU of ff.net.0 at 64. */
    SD15_64(8192, 1280),
    /** SDXL, the GEGLU of ff.net.0 at 32. */
    SDXL_32(2048, 5120),
    /** DiT-XL/2 at 256, the GELU of ff.net.0. */
    DIT_XL_256(512, 4608),
    /** DiT-XL/2 at 512, the GELU of ff.net.0. */
    DIT_XL_512(2048, 4608);

    public final int rows;
    public final int width;

    Activation(int rows, int width) {
      this.rows = rows;
      this.width = width;
    }

    @Override
    public String sizes() {
      return rows + "x" + width;
    }
  }

  /** Cross entropy of logits [rows, classes]. */
  public enum CrossEntropy implements KernelShape {
    /** The 1000 classes that DiT-XL/2 knows, as a classifier sees them. */
    IMAGENET(256, 1000),
    /** 2 x 77 tokens over the vocabulary of the text encoder of SD 1.5. */
    CLIP_VOCABULARY(154, 49408),
    /** 2 x 256 tokens over a codebook of 16384. */
    VQ_CODES(512, 16384);

    public final int rows;
    public final int classes;

    CrossEntropy(int rows, int classes) {
      this.rows = rows;
      this.classes = classes;
    }

    @Override
    public String sizes() {
      return rows + "x" + classes;
    }
  }

  /** One step of AdamW on many parameters; the sizes of them. */
  public enum AdamW implements KernelShape {
    /** DiT-XL/2, the matrices of one block: attention, ff and norm1.linear. */
    DIT_XL_BLOCK(
        1152 * 1152, 1152 * 1152, 1152 * 1152, 1152 * 1152, 1152 * 4608, 4608 * 1152, 1152 * 6912),
    /** SD 1.5, the factors of a LoRA of rank 8 on attn1 of the levels 64, 32 and 16. */
    SD15_LORA_R8(
        LongStream.of(320, 640, 1280)
            .flatMap(width -> LongStream.generate(() -> 8 * width).limit(4 * 2 * 5))
            .toArray());

    private final long[] sizes;

    AdamW(long... sizes) {
      this.sizes = sizes;
    }

    /** Elements of each parameter. */
    long[] elements() {
      return sizes.clone();
    }

    /** All elements. */
    long sum() {
      return LongStream.of(sizes).sum();
    }

    @Override
    public String sizes() {
      return sizes.length + " of " + sum();
    }
  }

  /** y = x Wᵀ + s (x Aᵀ) Bᵀ with W [out, in], A [rank, in] and B [out, rank]. */
  public enum Lora implements KernelShape {
    /** SD 1.5, attn1.to_q at 64, rank 8. */
    SD15_TO_Q_64_R8(8192, 320, 320, 8),
    /** SDXL, attn1.to_q at 32, rank 16. */
    SDXL_TO_Q_32_R16(2048, 1280, 1280, 16),
    /** DiT-XL/2 at 256, ff.net.0.proj, rank 8. */
    DIT_XL_FC1_R8(512, 1152, 4608, 8);

    public final int rows;
    public final int in;
    public final int out;
    public final int rank;

    Lora(int rows, int in, int out, int rank) {
      this.rows = rows;
      this.in = in;
      this.out = out;
      this.rank = rank;
    }

    @Override
    public String sizes() {
      return rows + "x" + in + "->" + out + " r" + rank;
    }
  }
}
