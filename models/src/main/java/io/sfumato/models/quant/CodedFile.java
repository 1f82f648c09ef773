// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.nn.QuantizedWeight;
import io.sfumato.models.quant.QuantizationConfig.Type;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.Coding;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The tensors that bitsandbytes saves for one weight, below the name of its layer. */
final class CodedFile {
  static final String WEIGHT = "weight";
  static final String ABSMAX = "weight.absmax";
  static final String MAP = "weight.quant_map";
  static final String NESTED_ABSMAX = "weight.nested_absmax";
  static final String NESTED_MAP = "weight.nested_quant_map";
  static final String STATE = "weight.quant_state.bitsandbytes__";
  static final String MAGNITUDES = "SCB";
  static final String FORMAT = "weight_format";

  private static final long LONGEST_STATE = 1 << 16;
  private static final ObjectMapper JSON = new ObjectMapper();

  private CodedFile() {}

  // ---- writing

  /** All tensors of a weight, by the end of their name, in bitsandbytes' order. */
  static Map<String, Tensor> tensors(CodedTensor coded, Type type, DType dtype) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    List<Tensor> parts = coded.parts();
    tensors.put(WEIGHT, parts.get(0));
    if (type == Type.INT8) {
      tensors.put(MAGNITUDES, parts.get(1));
      tensors.put(FORMAT, Tensor.of(new byte[] {0})); // rows
      return tensors;
    }
    tensors.put(ABSMAX, parts.get(1));
    tensors.put(MAP, parts.get(2));
    if (coded.coding().nested() != null) {
      tensors.put(NESTED_ABSMAX, parts.get(3));
      tensors.put(NESTED_MAP, parts.get(4));
    }
    byte[] state = state(coded.coding(), type, dtype).getBytes(StandardCharsets.UTF_8);
    tensors.put(STATE + type.label(), Tensor.of(state, state.length));
    return tensors;
  }

  /** As Python's json module prints it. */
  private static String state(Coding coding, Type type, DType dtype) {
    StringBuilder text = new StringBuilder();
    text.append("{\"quant_type\": \"").append(type.label());
    text.append("\", \"blocksize\": ").append(coding.block());
    text.append(", \"dtype\": \"").append(TorchTypes.name(dtype));
    text.append("\", \"shape\": ").append(coding.shape());
    Coding.Nested nested = coding.nested();
    if (nested != null) {
      text.append(", \"nested_blocksize\": ").append(nested.block());
      text.append(", \"nested_dtype\": \"float32\", \"nested_offset\": ");
      text.append((double) nested.offset());
    }
    return text.append('}').toString();
  }

  // ---- reading

  /** The names of layers whose weights are coded. */
  static List<String> layers(TensorSource source) {
    List<String> layers = new ArrayList<>();
    source
        .entries()
        .forEach(
            (name, entry) -> {
              String layer = layer(name);
              if (layer != null) {
                layers.add(layer);
              }
            });
    source.entries().keySet().stream()
        .filter(name -> name.endsWith("." + ABSMAX) || name.equals(ABSMAX))
        .forEach(
            name -> {
              String layer = prefix(name, ABSMAX);
              if (!layers.contains(layer)) {
                throw bad(source, layer, "has scales, but no " + STATE + "nf4 or fp4");
              }
            });
    return layers;
  }

  /** The layer whose coded weight is marked by a tensor of this name, or null. */
  private static @Nullable String layer(String name) {
    if (name.equals(MAGNITUDES) || name.endsWith("." + MAGNITUDES)) {
      return prefix(name, MAGNITUDES);
    }
    int at = name.startsWith(STATE) ? 0 : name.indexOf("." + STATE) + 1;
    boolean four = name.startsWith(STATE, at) && (at > 0 || name.startsWith(STATE));
    return four ? (at == 0 ? "" : name.substring(0, at - 1)) : null;
  }

  private static String prefix(String name, String end) {
    return name.equals(end) ? "" : name.substring(0, name.length() - end.length() - 1);
  }

  /** Name of a tensor of a layer. */
  static String name(String layer, String end) {
    return layer.isEmpty() ? end : layer + "." + end;
  }

  /**
   * What is known of a coded weight before its large tensors are read.
   *
   * @param layer the name of its layer
   * @param type what codes stand for
   * @param coding how it is coded
   * @param dtype the type of the values
   * @param ends the ends of the names of all its tensors, parts first
   */
  record Header(String layer, Type type, Coding coding, DType dtype, List<String> ends) {
    /** The names of all its tensors. */
    List<String> names() {
      return ends.stream().map(end -> CodedFile.name(layer, end)).toList();
    }
  }

  /**
   * Reads what describes a weight.
   *
   * @throws WeightsException if it makes no sense
   */
  static Header header(TensorSource source, String layer) {
    Map<String, TensorEntry> entries = source.entries();
    TensorEntry weight = entries.get(name(layer, WEIGHT));
    if (weight == null) {
      throw bad(source, layer, "is described, but there are no codes");
    }
    List<String> states =
        entries.keySet().stream().filter(n -> n.startsWith(name(layer, STATE))).toList();
    if (states.isEmpty()) {
      return eightBits(source, layer, weight);
    }
    if (states.size() > 1) {
      throw bad(source, layer, "has several descriptions: " + states);
    }
    if (!weight.type().equals("U8")) {
      throw bad(source, layer, "codes are stored as " + weight.type() + "; U8 is supported");
    }
    String label = states.getFirst().substring(name(layer, STATE).length());
    Type type =
        switch (label) {
          case "nf4" -> Type.NF4;
          case "fp4" -> Type.FP4;
          default ->
              throw bad(source, layer, "unknown quantization type " + label + "; known: nf4, fp4");
        };
    JsonNode state = parse(source, layer, states.getFirst());
    String named = state.path("quant_type").asText();
    if (!named.equals(label)) {
      throw bad(source, layer, "is called " + label + " and described as '" + named + "'");
    }
    String typeName = state.path("dtype").asText();
    DType dtype = TorchTypes.of(typeName);
    if (dtype == null) {
      throw bad(source, layer, "dtype must be a floating type of PyTorch; got '" + typeName + "'");
    }
    boolean nested = state.has("nested_blocksize") || entries.containsKey(name(layer, NESTED_MAP));
    List<String> ends = new ArrayList<>(List.of(WEIGHT, ABSMAX, MAP));
    if (nested) {
      ends.addAll(List.of(NESTED_ABSMAX, NESTED_MAP));
    }
    ends.add(STATE + label);
    try {
      Coding coding =
          Coding.fourBit(shape(source, layer, state), whole(source, layer, state, "blocksize"));
      if (nested) {
        JsonNode offset = state.path("nested_offset");
        if (!offset.isNumber()) {
          throw bad(source, layer, "nested_offset must be a number; got " + offset);
        }
        int block = whole(source, layer, state, "nested_blocksize");
        coding =
            Coding.fourBit(
                coding.shape(),
                coding.block(),
                new Coding.Nested(block, (float) offset.asDouble()));
      }
      return new Header(layer, type, coding, dtype, ends);
    } catch (IllegalArgumentException e) {
      throw bad(source, layer, String.valueOf(e.getMessage()));
    }
  }

  private static Header eightBits(TensorSource source, String layer, TensorEntry weight) {
    if (!weight.type().equals("I8") && !weight.type().equals("U8")) {
      throw bad(source, layer, "has " + MAGNITUDES + ", so it must be I8; it is " + weight.type());
    }
    List<String> ends = new ArrayList<>(List.of(WEIGHT, MAGNITUDES));
    String format = name(layer, FORMAT);
    if (source.entries().containsKey(format)) {
      ends.add(FORMAT);
      byte[] value = source.readBytes(format).toByteArray();
      if (value.length != 1 || value[0] != 0) {
        throw bad(source, layer, FORMAT + " must be 0, rows; other orders are not supported");
      }
    }
    try {
      return new Header(layer, Type.INT8, Coding.rowsInt8(weight.shape()), DType.F32, ends);
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw bad(source, layer, String.valueOf(e.getMessage()));
    }
  }

  private static JsonNode parse(TensorSource source, String layer, String name) {
    TensorEntry entry = source.entries().get(name);
    if (entry == null || !entry.type().equals("U8") || entry.bytes() > LONGEST_STATE) {
      throw bad(source, layer, "its description must be at most " + LONGEST_STATE + " bytes, U8");
    }
    try {
      JsonNode json = JSON.readTree(source.readBytes(name).toByteArray());
      if (json == null || !json.isObject()) {
        throw bad(source, layer, "its description is no JSON object");
      }
      return json;
    } catch (IOException e) {
      throw bad(source, layer, "its description is not valid JSON");
    }
  }

  private static int whole(TensorSource source, String layer, JsonNode state, String key) {
    JsonNode value = state.path(key);
    if (!value.isIntegralNumber() || !value.canConvertToInt()) {
      throw bad(source, layer, key + " must be a whole number; got " + value);
    }
    return value.asInt();
  }

  private static Shape shape(TensorSource source, String layer, JsonNode state) {
    JsonNode sizes = state.path("shape");
    int[] dims = new int[sizes.size()];
    long n = 1;
    boolean valid = sizes.isArray() && dims.length > 0;
    for (int i = 0; i < dims.length && valid; i++) {
      JsonNode size = sizes.get(i);
      valid = size.isIntegralNumber() && size.canConvertToInt() && size.asInt() > 0;
      dims[i] = size.asInt();
      n *= dims[i];
      valid &= n <= Integer.MAX_VALUE;
    }
    if (!valid) {
      throw bad(source, layer, "shape must be positive sizes of at most 2^31 elements: " + sizes);
    }
    return Shape.of(dims);
  }

  /**
   * Reads a coded weight into the current scope.
   *
   * @throws WeightsException if a tensor is missing or not what the description says
   */
  static Map<String, Tensor> read(TensorSource source, Header header) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (String end : header.ends) {
      String name = name(header.layer, end);
      TensorEntry entry = source.entries().get(name);
      if (entry == null) {
        throw bad(source, header.layer, name + " is missing");
      }
      boolean bytes = entry.type().equals("U8") || entry.type().equals("I8");
      tensors.put(end, bytes ? source.readBytes(name) : source.read(name));
    }
    coded(source, header, tensors);
    return tensors;
  }

  /** The codes among the tensors of a weight. */
  static CodedTensor coded(TensorSource source, Header header, Map<String, Tensor> tensors) {
    try {
      List<Tensor> parts = new ArrayList<>(tensors.values());
      CodedTensor coded = new CodedTensor(header.coding, parts.subList(0, header.coding.parts()));
      for (Tensor part : coded.parts()) {
        if (part.dtype() == DType.F32) {
          requireFinite(source, header.layer, part);
        }
      }
      return coded;
    } catch (TensorException e) {
      throw bad(source, header.layer, e.getMessage());
    }
  }

  private static void requireFinite(TensorSource source, String layer, Tensor values) {
    for (float value : values.toFloatArray()) {
      if (!Float.isFinite(value)) {
        throw bad(source, layer, "scales and tables must be finite; one is " + value);
      }
    }
  }

  /** Holds a weight that was read. */
  static QuantizedWeight weight(
      TensorSource source,
      Header header,
      Map<String, Tensor> tensors,
      DType dtype,
      @Nullable DType computeType) {
    return new QuantizedWeight(
        header.layer,
        header.type.label(),
        coded(source, header, tensors),
        dtype,
        computeType,
        tensors);
  }

  private static WeightsException bad(TensorSource source, String layer, String why) {
    return new WeightsException(
        source.description() + ": coded weight \"" + name(layer, WEIGHT) + "\": " + why);
  }
}
