// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitCheckpoints;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.models.text.WordEncoderConfig;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.unet.LegacyNames;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNet2DConditionConfig;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Reads pipeline folders. First everything is looked at that can be wrong (the index, all
 * configurations, the headers of all weight files against models without memory), then the models
 * are read.
 */
final class PipelineReader {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  /** Parts of Stable Diffusion that draw nothing. */
  private static final List<String> IDLE =
      List.of("safety_checker", "feature_extractor", "image_encoder");

  private static final List<String> ROLES =
      List.of("unet", "transformer", "vae", "text_encoder", "tokenizer", "scheduler");

  private final Path folder;
  private final List<String> problems = new ArrayList<>();
  private final Map<String, String> classes = new TreeMap<>();
  private final Map<String, Module> blueprints = new LinkedHashMap<>();

  PipelineReader(Path given) {
    Path found = Checkpoint.find(given.resolve("checkpoint"));
    boolean direct = Files.exists(given.resolve(PipelineFiles.INDEX));
    this.folder = found == null || direct ? given : found;
  }

  LatentDiffusion read() {
    JsonNode index = index();
    SchedulerConfig scheduler = scheduler();
    for (String role : List.of("unet", "transformer", "vae", "text_encoder")) {
      if (classes.containsKey(role)) {
        blueprint(role);
      }
    }
    CLIPTokenizer tokenizer = tokenizer();
    List<String> names = classNames(index);
    try {
      check(tokenizer, names);
    } finally {
      blueprints.values().forEach(Module::close);
    }
    if (!problems.isEmpty() || scheduler == null) {
      throw new IllegalArgumentException(
          folder
              + ": cannot be read as a pipeline, "
              + problems.size()
              + (problems.size() == 1 ? " problem:\n  " : " problems:\n  ")
              + String.join("\n  ", problems));
    }
    return load(scheduler, tokenizer, names);
  }

  // ---- the index

  private JsonNode index() {
    Path file = folder.resolve(PipelineFiles.INDEX);
    if (!Files.exists(file)) {
      throw new IllegalArgumentException(
          folder
              + ": is no pipeline: there is neither "
              + PipelineFiles.INDEX
              + " nor the checkpoint of a training run");
    }
    JsonNode index = ModelConfig.read(file);
    for (Map.Entry<String, JsonNode> e : index.properties()) {
      JsonNode value = e.getValue();
      if (!value.isArray() || value.size() != 2 || value.path(1).isNull()) {
        continue;
      }
      String role = e.getKey();
      String className = value.path(1).asText();
      if (IDLE.contains(role)) {
        LOG.log(
            System.Logger.Level.INFO,
            "{0}: {1} ({2}) draws nothing and is not read; pictures are not checked by it",
            folder,
            role,
            className);
      } else if (!ROLES.contains(role)) {
        problems.add("component " + role + " (" + className + ") is not known; known are " + ROLES);
      } else {
        classes.put(role, className);
      }
    }
    if (!classes.containsKey("unet") && !classes.containsKey("transformer")) {
      problems.add("there is neither a unet nor a transformer in " + PipelineFiles.INDEX);
    }
    if (classes.containsKey("unet") && classes.containsKey("transformer")) {
      problems.add("there are both a unet and a transformer in " + PipelineFiles.INDEX);
    }
    return index;
  }

  private @Nullable SchedulerConfig scheduler() {
    if (!classes.containsKey("scheduler")) {
      problems.add("component scheduler is missing in " + PipelineFiles.INDEX);
      return null;
    }
    return tried(() -> SchedulerConfig.read(folder.resolve("scheduler/scheduler_config.json")));
  }

  private @Nullable CLIPTokenizer tokenizer() {
    String className = classes.get("tokenizer");
    if (className == null) {
      return null;
    }
    if (!className.startsWith("CLIPTokenizer")) {
      unknown("tokenizer", className, "CLIPTokenizer, CLIPTokenizerFast");
      return null;
    }
    return tried(() -> CLIPTokenizer.open(folder.resolve("tokenizer")));
  }

  private List<String> classNames(JsonNode index) {
    List<String> names = new ArrayList<>();
    JsonNode labels = index.path("id2label");
    for (int i = 0; labels.has(Integer.toString(i)); i++) {
      names.add(labels.get(Integer.toString(i)).asText());
    }
    if (names.isEmpty() && Files.exists(folder.resolve("training/state.json"))) {
      Checkpoint.State state = tried(() -> Checkpoint.readState(folder));
      return state == null ? names : state.classNames();
    }
    return names;
  }

  // ---- models without memory

  private void blueprint(String role) {
    Path own = folder.resolve(role);
    String className = classes.getOrDefault(role, "");
    Path config = own.resolve("config.json");
    Module model =
        switch (role + " " + className) {
          case "unet UNet2DConditionModel" ->
              planned(w -> new UNet2DCondition(w, UNet2DConditionConfig.read(config)));
          case "unet UNet2DModel" -> planned(w -> new UNet2D(w, UNet2DConfig.read(config)));
          case "transformer DiTTransformer2DModel", "transformer DiT" ->
              planned(w -> new Dit(w, DitConfig.read(config)));
          case "vae AutoencoderKL" ->
              planned(w -> new AutoencoderKL(w, AutoencoderKLConfig.read(config)));
          case "text_encoder CLIPTextModel", "text_encoder CLIPTextModelWithProjection" ->
              planned(w -> new CLIPTextModel(w, CLIPTextConfig.read(config)));
          case "text_encoder WordEncoder" ->
              planned(w -> new WordEncoder(w, WordEncoderConfig.read(config)));
          default -> {
            unknown(role, className, known(role));
            yield null;
          }
        };
    TensorSource source = tried(() -> TensorSource.open(own));
    if (source == null) {
      return;
    }
    try (TensorSource named = model == null ? source : present(model, source)) {
      if (model != null) {
        blueprints.put(role, model);
        problems.addAll(Blueprints.compare(role, model, named));
      }
    } catch (RuntimeException e) {
      problems.add(message(e));
    }
  }

  private static String known(String role) {
    return switch (role) {
      case "unet" -> "UNet2DModel, UNet2DConditionModel";
      case "transformer" -> "DiTTransformer2DModel, DiT";
      case "vae" -> "AutoencoderKL";
      default -> "CLIPTextModel, CLIPTextModelWithProjection, WordEncoder";
    };
  }

  private void unknown(String role, String className, String known) {
    problems.add(
        "component " + role + " is a " + className + ", which is not known; known are " + known);
  }

  private @Nullable Module planned(Function<Weights, Module> build) {
    return tried(() -> build.apply(Weights.meta()));
  }

  /** The tensors under the names that the model asks for. */
  private static TensorSource present(Module model, TensorSource source) {
    return switch (model) {
      case Dit dit -> DitCheckpoints.as(dit.config().layout(), source, dit.config());
      case CLIPTextModel clip ->
          source.entries().containsKey("embeddings.token_embedding.weight")
              ? source.rename("text_model."::concat)
              : source;
      default -> LegacyNames.of(source);
    };
  }

  /** Whether the parts fit together, as far as they could be planned. */
  private void check(@Nullable CLIPTokenizer tokenizer, List<String> names) {
    Module network = blueprints.getOrDefault("unet", blueprints.get("transformer"));
    Module encoder = blueprints.get("text_encoder");
    if (encoder instanceof CLIPTextModel && !classes.containsKey("tokenizer")) {
      problems.add("component tokenizer is missing in " + PipelineFiles.INDEX);
      return;
    }
    boolean unread = classes.containsKey("text_encoder") && encoder == null;
    unread |= encoder instanceof CLIPTextModel && tokenizer == null;
    unread |= classes.containsKey("vae") && !blueprints.containsKey("vae");
    if (network == null || unread) {
      return;
    }
    AutoencoderKLConfig vae = blueprints.get("vae") instanceof AutoencoderKL a ? a.config() : null;
    Backbone backbone = backbone(network);
    problems.addAll(
        PipelineRules.parts(vae, backbone, conditioner(backbone, encoder, tokenizer, names)));
  }

  static Backbone backbone(Module network) {
    return switch (network) {
      case UNet2D unet -> Backbone.of(unet);
      case UNet2DCondition unet -> Backbone.of(unet);
      case Dit dit -> Backbone.of(dit);
      default -> throw new IllegalStateException(network.getClass().getName());
    };
  }

  static Conditioner conditioner(
      Backbone backbone,
      @Nullable Module encoder,
      @Nullable CLIPTokenizer tokenizer,
      List<String> names) {
    if (encoder instanceof WordEncoder words) {
      return new Conditioner.Words(words);
    }
    if (encoder instanceof CLIPTextModel clip && tokenizer != null) {
      return new Conditioner.Clip(tokenizer, clip);
    }
    Integer rows = backbone.classes();
    if (rows == null) {
      return new Conditioner.None();
    }
    boolean nothing = backbone.role().equals("transformer") || names.size() == rows - 1;
    int count = nothing ? rows - 1 : rows;
    List<String> known =
        names.size() == count
            ? names
            : Stream.iterate(0, i -> i + 1).limit(count).map(i -> Integer.toString(i)).toList();
    return new Conditioner.Classes(known, nothing ? Integer.valueOf(rows - 1) : null);
  }

  // ---- reading

  private LatentDiffusion load(
      SchedulerConfig scheduler, @Nullable CLIPTokenizer tokenizer, List<String> names) {
    List<Module> loaded = new ArrayList<>();
    try {
      String role = classes.containsKey("unet") ? "unet" : "transformer";
      Path own = folder.resolve(role);
      Module network =
          switch (classes.getOrDefault(role, "")) {
            case "UNet2DConditionModel" -> UNet2DCondition.open(own);
            case "UNet2DModel" -> UNet2D.open(own);
            default -> Dit.open(own);
          };
      loaded.add(network);
      AutoencoderKL vae = null;
      if (classes.containsKey("vae")) {
        vae = AutoencoderKL.open(folder.resolve("vae"));
        loaded.add(vae);
      }
      Module encoder = null;
      if (classes.containsKey("text_encoder")) {
        Path text = folder.resolve("text_encoder");
        encoder =
            "WordEncoder".equals(classes.get("text_encoder"))
                ? WordEncoder.open(text)
                : CLIPTextModel.open(text);
        loaded.add(encoder);
      }
      Backbone backbone = backbone(network);
      return new LatentDiffusion(
          vae,
          backbone,
          conditioner(backbone, encoder, tokenizer, names),
          scheduler,
          new PipelineFiles(json(), names));
    } catch (RuntimeException | Error e) {
      loaded.forEach(Module::close);
      throw e;
    }
  }

  /** The JSON files of the index and of all components that were read. */
  private Map<String, byte[]> json() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    List<String> names = new ArrayList<>(List.of(PipelineFiles.INDEX));
    names.add("scheduler/scheduler_config.json");
    classes.keySet().stream()
        .filter(c -> !c.equals("scheduler") && !c.equals("tokenizer"))
        .forEach(c -> names.add(c + "/config.json"));
    try {
      for (String name : names) {
        files.put(name, Files.readAllBytes(folder.resolve(name)));
      }
    } catch (IOException e) {
      throw new IllegalArgumentException(folder + ": cannot be read: " + e.getMessage(), e);
    }
    return files;
  }

  private interface Attempt<T> {
    T get();
  }

  /** The result, or null after a note of what went wrong. */
  private <T> @Nullable T tried(Attempt<T> attempt) {
    try (Scope scope = Scope.open()) {
      return attempt.get();
    } catch (RuntimeException e) {
      Arrays.stream(message(e).split("\n")).forEach(problems::add);
      return null;
    }
  }

  private static String message(RuntimeException e) {
    return e.getMessage() == null ? e.toString() : e.getMessage();
  }
}
