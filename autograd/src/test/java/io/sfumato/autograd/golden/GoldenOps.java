// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.golden;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Pad;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Calls the facade for an operation of {@code golden/ops}, by its name and attributes. */
final class GoldenOps {
  private final JsonNode attrs;
  private final Tensor[] x;

  private GoldenOps(JsonNode attrs, Tensor[] x) {
    this.attrs = attrs;
    this.x = x;
  }

  /**
   * The outputs of an operation.
   *
   * @throws IllegalArgumentException if no facade is known for it
   */
  static Tensor[] call(GoldenCase c, Tensor[] x) {
    GoldenOps call = new GoldenOps(c.attrs(), x);
    return switch (c.op()) {
      case "sort" -> of(Num.sort(x[0], call.number("dim"), call.flag("descending")));
      case "topk" -> of(Num.topk(x[0], call.number("k"), call.number("dim"), call.flag("largest")));
      case "split" ->
          Shaping.split(x[0], call.numbers("sizes"), call.number("dim")).toArray(Tensor[]::new);
      case "batchNorm" -> call.batchNorm();
      default -> new Tensor[] {call.one(c.op())};
    };
  }

  private static Tensor[] of(Num.Sorted sorted) {
    return new Tensor[] {sorted.values(), sorted.indices()};
  }

  private Tensor one(String op) {
    Tensor y = pointwise(op);
    y = y == null ? reduction(op) : y;
    y = y == null ? layer(op) : y;
    y = y == null ? shaping(op) : y;
    y = y == null ? loss(op) : y;
    if (y == null) {
      throw new IllegalArgumentException("no facade is known for " + op);
    }
    return y;
  }

  private @Nullable Tensor pointwise(String op) {
    return switch (op) {
      case "add" -> Num.add(x[0], x[1]);
      case "sub" -> Num.sub(x[0], x[1]);
      case "mul" -> Num.mul(x[0], x[1]);
      case "div" -> Num.div(x[0], x[1]);
      case "pow" ->
          x.length == 2 ? Num.pow(x[0], x[1]) : Num.pow(x[0], attrs.get("exponent").asDouble());
      case "maximum" -> Num.maximum(x[0], x[1]);
      case "minimum" -> Num.minimum(x[0], x[1]);
      case "neg" -> Num.neg(x[0]);
      case "abs" -> Num.abs(x[0]);
      case "exp" -> Num.exp(x[0]);
      case "expm1" -> Num.expm1(x[0]);
      case "log" -> Num.log(x[0]);
      case "log1p" -> Num.log1p(x[0]);
      case "sqrt" -> Num.sqrt(x[0]);
      case "rsqrt" -> Num.rsqrt(x[0]);
      case "reciprocal" -> Num.reciprocal(x[0]);
      case "square" -> Num.square(x[0]);
      case "sin" -> Num.sin(x[0]);
      case "cos" -> Num.cos(x[0]);
      case "tanh" -> Num.tanh(x[0]);
      case "erf" -> Num.erf(x[0]);
      case "floor" -> Num.floor(x[0]);
      case "ceil" -> Num.ceil(x[0]);
      case "round" -> Num.round(x[0]);
      case "sign" -> Num.sign(x[0]);
      case "sigmoid" -> NN.sigmoid(x[0]);
      case "silu" -> NN.silu(x[0]);
      case "gelu" -> gelu(x[0]);
      case "geglu" ->
          NN.gatedUnit(
              attrs.get("approximate").asText().equals("tanh")
                  ? GatedUnit.Kind.GELU_TANH
                  : GatedUnit.Kind.GELU,
              x[0]);
      case "relu" -> NN.relu(x[0]);
      case "leakyRelu" -> NN.leakyRelu(x[0], real("negativeSlope"));
      case "elu" -> NN.elu(x[0], real("alpha"));
      case "softplus" -> NN.softplus(x[0], real("beta"), real("threshold"));
      case "clamp" ->
          Num.clamp(
              x[0],
              attrs.get("min").isNull() ? Double.NEGATIVE_INFINITY : real("min"),
              attrs.get("max").isNull() ? Double.POSITIVE_INFINITY : real("max"));
      case "where" -> Num.where(x[0], x[1], x[2]);
      case "eq" -> Num.eq(x[0], x[1]);
      case "ne" -> Num.ne(x[0], x[1]);
      case "lt" -> Num.lt(x[0], x[1]);
      case "le" -> Num.le(x[0], x[1]);
      case "gt" -> Num.gt(x[0], x[1]);
      case "ge" -> Num.ge(x[0], x[1]);
      case "logicalNot" -> Num.logicalNot(x[0]);
      case "cast" -> Num.cast(x[0], DType.valueOf(attrs.get("dtype").asText()));
      default -> null;
    };
  }

  private Tensor gelu(Tensor t) {
    return attrs.get("approximate").asText().equals("tanh") ? NN.geluTanh(t) : NN.gelu(t);
  }

  private @Nullable Tensor reduction(String op) {
    return switch (op) {
      case "sum" -> Num.sum(x[0], keepDim(), dims());
      case "mean" -> Num.mean(x[0], keepDim(), dims());
      case "max" -> Num.max(x[0], keepDim(), dims());
      case "min" -> Num.min(x[0], keepDim(), dims());
      case "prod" -> Num.prod(x[0], keepDim(), dims());
      case "any" -> Num.any(x[0], dims());
      case "all" -> Num.all(x[0], dims());
      case "logsumexp" -> Num.logsumexp(x[0], keepDim(), dims());
      case "var" -> Num.var(x[0], number("correction"), keepDim(), dims());
      case "std" -> Num.std(x[0], number("correction"), keepDim(), dims());
      case "argmax" ->
          attrs.get("dim").isNull() ? Num.argmax(x[0]) : Num.argmax(x[0], number("dim"), keepDim());
      case "argmin" ->
          attrs.get("dim").isNull() ? Num.argmin(x[0]) : Num.argmin(x[0], number("dim"), keepDim());
      case "cumsum" -> Num.cumsum(x[0], number("dim"));
      case "softmax" -> NN.softmax(x[0], number("dim"));
      case "logSoftmax" -> NN.logSoftmax(x[0], number("dim"));
      default -> null;
    };
  }

  private @Nullable Tensor layer(String op) {
    return switch (op) {
      case "matmul" ->
          optional("transposeA") || optional("transposeB")
              ? Num.matmul(x[0], x[1], optional("transposeA"), optional("transposeB"))
              : Num.matmul(x[0], x[1]);
      case "einsum" -> Num.einsum(attrs.get("equation").asText(), x);
      case "linear" -> NN.linear(x[0], x[1], input(2));
      case "nearestCode" -> NN.nearestCode(x[0], x[1]);
      case "conv1d" -> NN.conv1d(x[0], x[1], input(2), convolution());
      case "conv2d" -> NN.conv2d(x[0], x[1], input(2), convolution());
      case "conv3d" -> NN.conv3d(x[0], x[1], input(2), convolution());
      case "convTranspose2d" ->
          NN.convTranspose2d(
              x[0], x[1], input(2), convolution().outputPadding(numbers("outputPadding")));
      case "attention" -> {
        AttentionOptions options = AttentionOptions.of().causal(flag("causal")).mask(input(3));
        yield NN.attention(
            x[0], x[1], x[2], attrs.get("scale").isNull() ? options : options.scale(real("scale")));
      }
      case "groupNorm" -> NN.groupNorm(x[0], number("groups"), input(1), input(2), real("eps"));
      case "groupNormSilu" ->
          NN.groupNormSilu(x[0], number("groups"), input(1), input(2), real("eps"));
      case "layerNorm" ->
          NN.layerNorm(x[0], attrs.get("normalizedShape").size(), input(1), input(2), real("eps"));
      case "layerNormModulate" -> NN.layerNormModulate(x[0], x[2], x[1], real("eps"));
      case "rmsNorm" -> NN.rmsNorm(x[0], input(1), real("eps"));
      case "embedding" -> NN.embedding(x[1], x[0]);
      case "upsampleNearest" -> NN.upsampleNearest(x[0], size());
      case "upsampleBilinear" ->
          NN.upsampleBilinear(x[0], size()[0], size()[1], flag("alignCorners"));
      case "avgPool2d" ->
          NN.avgPool2d(
              x[0],
              numbers("kernel"),
              numbers("stride"),
              numbers("padding"),
              flag("countIncludePad"));
      case "maxPool2d" ->
          NN.maxPool2d(
              x[0], numbers("kernel"), numbers("stride"), numbers("padding"), numbers("dilation"));
      case "adaptiveAvgPool2d" -> NN.adaptiveAvgPool2d(x[0], size()[0], size()[1]);
      case "pixelShuffle" -> NN.pixelShuffle(x[0], number("factor"));
      case "pixelUnshuffle" -> NN.pixelUnshuffle(x[0], number("factor"));
      default -> null;
    };
  }

  private @Nullable Tensor shaping(String op) {
    return switch (op) {
      case "concat" -> Shaping.concat(number("dim"), x);
      case "stack" -> Shaping.stack(number("dim"), x);
      case "gather" -> Shaping.gather(x[0], number("dim"), x[1]);
      case "scatterAdd" -> Shaping.scatterAdd(x[0], number("dim"), x[1], x[2]);
      case "indexSelect" -> Shaping.indexSelect(x[0], number("dim"), x[1]);
      case "flip" -> Shaping.flip(x[0], numbers("dims"));
      case "roll" -> Shaping.roll(x[0], numbers("shifts"), numbers("dims"));
      case "pad" -> {
        int[][] padding = pairs("padding");
        String mode = attrs.get("mode").asText();
        yield mode.equals("constant")
            ? Shaping.pad(x[0], padding, real("value"))
            : Shaping.pad(x[0], padding, Pad.Mode.valueOf(mode.toUpperCase(Locale.ROOT)));
      }
      default -> null;
    };
  }

  private @Nullable Tensor loss(String op) {
    return switch (op) {
      case "mse" -> NN.mse(x[0], x[1], reduction());
      case "l1" -> NN.l1(x[0], x[1], reduction());
      case "huber" -> NN.huber(x[0], x[1], real("delta"), reduction());
      case "smoothL1" -> NN.smoothL1(x[0], x[1], real("beta"), reduction());
      case "bce" -> NN.bce(x[0], x[1], reduction());
      case "bceWithLogits" -> NN.bceWithLogits(x[0], x[1], reduction());
      case "klDiv" -> NN.klDiv(x[0], x[1], false, reduction());
      case "crossEntropy" ->
          NN.crossEntropy(
              x[0],
              x[1],
              input(2),
              attrs.get("ignoreIndex").asLong(),
              real("labelSmoothing"),
              reduction());
      default -> null;
    };
  }

  /** The running statistics, inputs 3 and 4, are outputs 1 and 2 while training. */
  private Tensor[] batchNorm() {
    boolean training = flag("training");
    Tensor y = NN.batchNorm(x[0], x[3], x[4], x[1], x[2], training, real("momentum"), real("eps"));
    return training ? new Tensor[] {y, x[3], x[4]} : new Tensor[] {y};
  }

  // ---- attributes

  private @Nullable Tensor input(int i) {
    return i < x.length ? x[i] : null;
  }

  private int number(String name) {
    return attrs.get(name).asInt();
  }

  private double real(String name) {
    return attrs.get(name).asDouble();
  }

  private boolean flag(String name) {
    return attrs.get(name).asBoolean();
  }

  private boolean optional(String name) {
    return attrs.has(name) && flag(name);
  }

  private boolean keepDim() {
    return flag("keepDim");
  }

  private int[] numbers(String name) {
    List<Integer> values = new ArrayList<>();
    attrs.get(name).forEach(v -> values.add(v.asInt()));
    return values.stream().mapToInt(Integer::intValue).toArray();
  }

  private int[] dims() {
    return attrs.get("dims").isNull() ? new int[0] : numbers("dims");
  }

  private int[][] pairs(String name) {
    List<int[]> pairs = new ArrayList<>();
    attrs.get(name).forEach(p -> pairs.add(new int[] {p.get(0).asInt(), p.get(1).asInt()}));
    return pairs.toArray(int[][]::new);
  }

  /** The spatial size of the result, given as such or by factors. */
  private int[] size() {
    if (attrs.has("size")) {
      return numbers("size");
    }
    int[] scale = numbers("scale");
    return IntStream.range(0, scale.length).map(i -> x[0].dim(2 + i) * scale[i]).toArray();
  }

  private ConvOptions convolution() {
    int[][] padding = pairs("padding");
    List<Integer> before = IntStream.range(0, padding.length).mapToObj(i -> padding[i][0]).toList();
    List<Integer> after = IntStream.range(0, padding.length).mapToObj(i -> padding[i][1]).toList();
    return ConvOptions.of()
        .stride(numbers("stride"))
        .padding(before, after)
        .dilation(numbers("dilation"))
        .groups(number("groups"));
  }

  private Reduction reduction() {
    return switch (attrs.get("reduction").asText()) {
      case "none" -> Reduction.NONE;
      case "mean" -> Reduction.MEAN;
      case "sum" -> Reduction.SUM;
      case "batchmean" -> Reduction.BATCH_MEAN;
      default -> throw new IllegalArgumentException("unknown reduction " + attrs);
    };
  }
}
