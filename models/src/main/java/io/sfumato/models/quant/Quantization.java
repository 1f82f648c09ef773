// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.QuantizedWeight;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.models.quant.QuantizationConfig.Type;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.Quantize;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Models whose frozen weights have four or eight bits, for QLoRA (Dettmers et al. 2023, <a
 * href="https://arxiv.org/abs/2305.14314">arXiv:2305.14314</a>): adapters in the slots of quantised
 * layers are trained in full precision.
 *
 * {@snippet :
 * Quantization.quantize(unet, Quantization.linearLayers(unet), QuantizationConfig.nf4().doubleQuantization(true));
 * var lora = AdapterSet.attach(unet, Targets.glob("**.to_q", "**.to_v"), Lora.rank(8), Rng.seed(0));
 * var result = Autograd.valueAndGrad(lora.parameters(), () -> denoiser.loss(images, labels, draw));
 * }
 *
 * <p>Products read the codes; neither forward nor backward keeps decoded weights, and the codes
 * never change. Values, codes and files are bitsandbytes'.
 */
public final class Quantization {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private Quantization() {}

  /** The paths of all linear layers of a model, what QLoRA quantises. */
  public static Predicate<String> linearLayers(Module model) {
    Set<String> paths = new LinkedHashSet<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (module instanceof Linear) {
                paths.add(path);
              }
            });
    return paths::contains;
  }

  /**
   * Replaces the weights of layers by codes, in place. Their memory is free then; they are no
   * longer among the model's parameters.
   *
   * @param model the model
   * @param targets which layers, by path
   * @param config how
   * @return the number of layers
   * @throws IllegalArgumentException if no layer is meant, or listing those that cannot be coded:
   *     then nothing was changed
   */
  public static int quantize(Module model, Predicate<String> targets, QuantizationConfig config) {
    Map<WeightLayer, QuantizedWeight> codes = new LinkedHashMap<>();
    List<String> problems = new ArrayList<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (module instanceof WeightLayer layer && targets.test(path)) {
                String reason = refusal(layer);
                if (reason == null) {
                  try {
                    codes.put(layer, code(layer, config));
                  } catch (IllegalArgumentException e) {
                    reason = e.getMessage();
                  }
                }
                if (reason != null) {
                  problems.add(path + ": " + reason);
                }
              }
            });
    if (!problems.isEmpty() || codes.isEmpty()) {
      codes.values().forEach(QuantizedWeight::close);
      throw new IllegalArgumentException(
          problems.isEmpty()
              ? "the targets match none of the model's layers"
              : "cannot quantize " + String.join("; ", problems));
    }
    codes.forEach(WeightLayer::quantize);
    return codes.size();
  }

  private static @Nullable String refusal(WeightLayer layer) {
    if (layer.quantized().isPresent()) {
      return "is quantized already";
    }
    String reason = layer.refusesQuantization();
    DType dtype = layer.weight().value().dtype();
    return reason == null && dtype == DType.F64 ? "its weight is f64" : reason;
  }

  private static QuantizedWeight code(WeightLayer layer, QuantizationConfig config) {
    try (Scope scope = Scope.open()) {
      Tensor weight = layer.weight().value();
      Type type = config.type();
      CodedTensor coded =
          type == Type.INT8
              ? Quantize.rowsInt8(weight)
              : config.doubleQuantization()
                  ? Quantize.fourBit(
                      weight, type.table(), config.block(), QuantizationConfig.NESTED_BLOCK)
                  : Quantize.fourBit(weight, type.table(), config.block());
      return new QuantizedWeight(
          layer.path(),
          type.label(),
          coded,
          weight.dtype(),
          config.computeType(),
          CodedFile.tensors(coded, type, weight.dtype()));
    }
  }

  /** Replaces all codes of a model by the values they stand for; nothing if there are none. */
  public static void dequantize(Module model) {
    for (String path : weights(model).keySet()) {
      if (model.modules().get(path) instanceof WeightLayer layer) {
        layer.dequantize().close();
      }
    }
  }

  /** The coded weights of a model by the path of their layer. */
  public static Map<String, QuantizedWeight> weights(Module model) {
    Map<String, QuantizedWeight> found = new LinkedHashMap<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (module instanceof WeightLayer layer) {
                layer.quantized().ifPresent(codes -> found.put(path, codes));
              }
            });
    return found;
  }

  // ---- files

  /**
   * Writes all tensors of a model, of which some may be coded, under bitsandbytes' names.
   *
   * @param file a safetensors file
   */
  public static void save(Path file, Module model) {
    Set<String> signed = new LinkedHashSet<>();
    weights(model)
        .forEach(
            (path, codes) -> {
              if (codes.label().equals(Type.INT8.label())) {
                signed.add(CodedFile.name(path, CodedFile.WEIGHT));
              }
            });
    SafeTensors.save(file, model.stateDict(), Map.of("format", "pt"), signed);
  }

  /**
   * A model's configuration with how it is quantised, as diffusers writes it; as it was if the
   * model is not quantised.
   *
   * @param config the configuration of the model itself
   */
  public static Map<String, @Nullable Object> describe(
      Map<String, @Nullable Object> config, Module model) {
    Map<String, QuantizedWeight> codes = weights(model);
    if (codes.isEmpty()) {
      return config;
    }
    Set<QuantizationConfig> ways = new LinkedHashSet<>();
    codes.values().forEach(c -> ways.add(configOf(c)));
    if (ways.size() > 1) {
      throw new IllegalArgumentException(
          "one configuration cannot describe layers that are quantized in several ways: " + ways);
    }
    Map<String, @Nullable Object> whole = new LinkedHashMap<>(config);
    whole.put(QuantizationConfig.KEY, ways.iterator().next().toJson());
    return whole;
  }

  private static QuantizationConfig configOf(QuantizedWeight codes) {
    Type type = Type.valueOf(codes.label().toUpperCase(java.util.Locale.ROOT));
    boolean nested = codes.coded().coding().nested() != null;
    return new QuantizationConfig(
        type, codes.coded().coding().block(), nested, codes.computeType());
  }

  /**
   * Builds a model from a file or a folder with coded weights. Layers that can hold codes get those
   * of the file, bit for bit; others their values, which the log says once. Without coded weights
   * the model is built as always.
   *
   * @param path a safetensors file, or a folder of diffusers with a {@code config.json}, whose
   *     {@value QuantizationConfig#KEY} says in which type products run
   * @param build makes the model
   * @throws WeightsException if coded weights make no sense, or tensors are not used
   */
  public static <M extends Module> M load(Path path, Function<Weights, M> build) {
    return load(path, TensorSource.open(path), source -> source, build);
  }

  /**
   * As {@link #load(Path, Function)}, from tensors under other names or in other shapes.
   *
   * @param path where {@code config.json} lies, if it is a folder
   * @param source the stored tensors; is closed
   * @param view gives the tensors under the model's names; of those that are not coded
   * @param build makes the model
   */
  public static <M extends Module> M load(
      Path path,
      TensorSource source,
      Function<TensorSource, TensorSource> view,
      Function<Weights, M> build) {
    Map<String, CodedFile.Header> headers = new LinkedHashMap<>();
    TensorSource seen = source;
    DType computeType = null;
    try {
      Scope.run(
          () ->
              CodedFile.layers(source)
                  .forEach(layer -> headers.put(layer, CodedFile.header(source, layer))));
      computeType = headers.isEmpty() ? null : computeType(path);
      seen = view.apply(headers.isEmpty() ? source : decoded(source, headers));
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
    try (Weights weights = Weights.from(seen)) {
      M model = build.apply(weights);
      try {
        weights.requireAllUsed();
        keepCodes(model, source, headers, computeType);
        return model;
      } catch (RuntimeException e) {
        model.close();
        throw e;
      }
    }
  }

  /** The source with coded weights in their true shapes, decoded when they are read. */
  private static TensorSource decoded(TensorSource source, Map<String, CodedFile.Header> headers) {
    DerivedTensors view = DerivedTensors.of(source);
    Set<String> parts = new HashSet<>();
    headers.values().forEach(header -> parts.addAll(header.names()));
    source.entries().keySet().stream()
        .filter(name -> !parts.contains(name))
        .forEach(name -> view.add(name, name));
    headers.forEach(
        (layer, header) -> {
          Shape shape = header.coding().shape();
          List<Long> dims = Arrays.stream(shape.dims()).mapToObj(Long::valueOf).toList();
          long bytes = shape.numel() * header.dtype().bytes();
          String name = CodedFile.name(layer, CodedFile.WEIGHT);
          view.add(
              new TensorEntry(name, header.dtype().name(), dims, 0, bytes),
              stored ->
                  Scope.run(
                      () ->
                          CodedFile.coded(stored, header, CodedFile.read(stored, header))
                              .dequantize(header.dtype())));
        });
    return view;
  }

  private static @Nullable DType computeType(Path path) {
    Path file = path.resolve("config.json");
    if (!Files.isDirectory(path) || !Files.exists(file)) {
      return null;
    }
    JsonNode json = ModelConfig.read(file).get(QuantizationConfig.KEY);
    try {
      return json == null ? null : QuantizationConfig.fromJson(json).computeType();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(file + ": " + e.getMessage(), e);
    }
  }

  private static void keepCodes(
      Module model,
      TensorSource source,
      Map<String, CodedFile.Header> headers,
      @Nullable DType computeType) {
    Map<String, Module> modules = model.modules();
    List<String> decoded = new ArrayList<>();
    headers.forEach(
        (path, header) -> {
          Module module = modules.get(path);
          if (module instanceof WeightLayer layer
              && layer.refusesQuantization() == null
              && layer.weight().value().shape().equals(header.coding().shape())) {
            keep(layer, source, header, computeType);
          } else {
            decoded.add(path);
          }
        });
    if (!decoded.isEmpty()) {
      LOG.log(
          System.Logger.Level.WARNING,
          "{0}: the coded weights of {1} are decoded, for these layers cannot hold codes here",
          source.description(),
          decoded);
    }
  }

  private static void keep(
      WeightLayer layer,
      TensorSource source,
      CodedFile.Header header,
      @Nullable DType computeType) {
    try (Scope scope = Scope.open()) {
      Tensor weight = layer.weight().value();
      Map<String, Tensor> tensors = CodedFile.read(source, header);
      if (!weight.device().isCpu()) {
        tensors.replaceAll((end, tensor) -> tensor.to(weight.device()));
      }
      layer.quantize(CodedFile.weight(source, header, tensors, weight.dtype(), computeType));
    }
  }
}
