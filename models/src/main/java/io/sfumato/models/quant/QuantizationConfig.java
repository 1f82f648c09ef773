// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.Coding;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * How weights are coded.
 *
 * @param type the values that codes stand for
 * @param block elements that share a scale, a power of two from 32 to 4096; 0 for {@link Type#INT8}
 * @param doubleQuantization whether scales are coded, too, in blocks of 256
 * @param computeType the floating type that inputs are brought to for a product, whose result gets
 *     their type again; null for that of the inputs
 */
public record QuantizationConfig(
    Type type, int block, boolean doubleQuantization, @Nullable DType computeType) {
  /** The key in the configuration of a model. */
  public static final String KEY = ModelConfig.QUANTIZATION;

  /** Scales of a block when they are coded. */
  static final int NESTED_BLOCK = 256;

  private static final int BLOCK = 64;

  /** What codes stand for. */
  public enum Type {
    /** NormalFloat of four bits, see {@link CodeTables#nf4}. */
    NF4,
    /** Float of four bits, see {@link CodeTables#fp4}. */
    FP4,
    /**
     * Whole numbers of eight bits with a scale for each output, the weights of LLM.int8() (Dettmers
     * et al. 2022, <a href="https://arxiv.org/abs/2208.07339">arXiv:2208.07339</a>). Inputs stay
     * floating here, so they need no columns apart for outliers.
     */
    INT8;

    /** As files spell it. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** The 16 values; not of {@link #INT8}. */
    float[] table() {
      return this == NF4 ? CodeTables.nf4() : CodeTables.fp4();
    }
  }

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException listing what is wrong
   */
  public QuantizationConfig {
    List<String> problems = new ArrayList<>();
    if (type == Type.INT8) {
      if (block != 0) {
        problems.add("int8 has a scale for each row and no blocks: block must be 0, not " + block);
      }
      if (doubleQuantization) {
        problems.add("int8 has no double quantization");
      }
    } else {
      try {
        Coding.fourBit(Shape.of(1), block);
      } catch (IllegalArgumentException e) {
        problems.add(Objects.requireNonNullElse(e.getMessage(), "block"));
      }
    }
    if (computeType != null && (!computeType.isFloating() || computeType == DType.F64)) {
      problems.add("the compute type must be f32, bf16 or f16; got " + computeType.label());
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException("quantization: " + String.join("; ", problems));
    }
  }

  /** NF4 in blocks of 64, as QLoRA has it but without double quantisation. */
  public static QuantizationConfig nf4() {
    return new QuantizationConfig(Type.NF4, BLOCK, false, null);
  }

  /** FP4 in blocks of 64. */
  public static QuantizationConfig fp4() {
    return new QuantizationConfig(Type.FP4, BLOCK, false, null);
  }

  /** Eight bits. */
  public static QuantizationConfig int8() {
    return new QuantizationConfig(Type.INT8, 0, false, null);
  }

  /** The same with scales that are coded, too, or not. */
  public QuantizationConfig doubleQuantization(boolean value) {
    return new QuantizationConfig(type, block, value, computeType);
  }

  /** The same with another block. */
  public QuantizationConfig block(int elements) {
    return new QuantizationConfig(type, elements, doubleQuantization, computeType);
  }

  /** The same with a type of products. */
  public QuantizationConfig computeType(@Nullable DType dtype) {
    return new QuantizationConfig(type, block, doubleQuantization, dtype);
  }

  /**
   * Reads the {@value #KEY} of a model's configuration, as diffusers' {@code BitsAndBytesConfig}
   * writes it; its defaults are fp4, no double quantisation, products in f32.
   *
   * @param json the object
   * @throws IllegalArgumentException listing what is wrong
   */
  public static QuantizationConfig fromJson(JsonNode json) {
    List<String> problems = new ArrayList<>();
    String method = json.path("quant_method").asText("bitsandbytes");
    if (!method.equals("bitsandbytes")) {
      problems.add("quant_method " + method + " is not supported; bitsandbytes is");
    }
    boolean eight = flag(json, "load_in_8bit", problems);
    boolean four = flag(json, "load_in_4bit", problems);
    if (eight == four) {
      problems.add("one of load_in_4bit and load_in_8bit must be true");
    }
    String name = json.path("bnb_4bit_quant_type").asText("fp4");
    if (!name.equals("nf4") && !name.equals("fp4")) {
      problems.add("bnb_4bit_quant_type must be nf4 or fp4; got " + name);
    }
    String storage = json.path("bnb_4bit_quant_storage").asText("uint8");
    if (four && !storage.equals("uint8")) {
      problems.add("bnb_4bit_quant_storage " + storage + " is not supported; uint8 is");
    }
    boolean nested = flag(json, "bnb_4bit_use_double_quant", problems);
    String compute = json.path("bnb_4bit_compute_dtype").asText("float32");
    DType dtype = TorchTypes.of(compute.replace("torch.", ""));
    if (dtype == null || dtype == DType.F64) {
      problems.add("bnb_4bit_compute_dtype must be float32, bfloat16 or float16; got " + compute);
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(KEY + ": " + String.join("; ", problems));
    }
    return eight
        ? int8()
        : (name.equals("nf4") ? nf4() : fp4()).doubleQuantization(nested).computeType(dtype);
  }

  private static boolean flag(JsonNode json, String key, List<String> problems) {
    JsonNode value = json.path(key);
    if (value.isMissingNode() || value.isNull()) {
      return false;
    }
    if (!value.isBoolean()) {
      problems.add(key + " must be true or false; got " + value);
    }
    return value.asBoolean();
  }

  /** The object that {@link #fromJson} reads. The size of blocks is in the weights' file. */
  public Map<String, @Nullable Object> toJson() {
    TreeMap<String, @Nullable Object> map = new TreeMap<>();
    boolean eight = type == Type.INT8;
    map.put("_load_in_4bit", !eight);
    map.put("_load_in_8bit", eight);
    map.put(
        "bnb_4bit_compute_dtype", computeType == null ? "float32" : TorchTypes.name(computeType));
    map.put("bnb_4bit_quant_storage", "uint8");
    map.put("bnb_4bit_quant_type", eight ? "fp4" : type.label());
    map.put("bnb_4bit_use_double_quant", doubleQuantization);
    map.put("llm_int8_enable_fp32_cpu_offload", false);
    map.put("llm_int8_has_fp16_weight", false);
    map.put("llm_int8_skip_modules", null);
    map.put("llm_int8_threshold", 6.0);
    map.put("load_in_4bit", !eight);
    map.put("load_in_8bit", eight);
    map.put("quant_method", "bitsandbytes");
    return map;
  }
}
