// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.PrefixSlot;
import io.sfumato.models.nn.PromptSlot;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * CLIP's text encoder (Radford et al., 2021; transformers models/clip/modeling_clip.py,
 * CLIPTextModel and CLIPTextModelWithProjection): same configuration, names and numbers.
 *
 * {@snippet :
 * var encoder = CLIPTextModel.open(folder);
 * Tensor states = encoder.call(tokens);          // [B, L, hidden_size]
 * }
 */
public final class CLIPTextModel extends Module implements PromptSlot.Holder {
  private static final String PREFIX = "text_model.";

  /** A buffer that old checkpoints hold; the positions are 0, 1, 2 and so on anyway. */
  private static final String POSITIONS = "text_model.embeddings.position_ids";

  private final CLIPTextConfig config;
  private final boolean bare;
  private final PromptSlot prompt = new PromptSlot();
  private final TextTransformer textModel;
  private final @Nullable Linear textProjection;

  /**
   * What the encoder gives.
   *
   * @param lastHiddenState after the final normalisation, [B, L, hidden_size]
   * @param hiddenStates the embeddings and the result of each block, without the final
   *     normalisation; the last but one is what some pipelines condition on
   * @param pooled {@code lastHiddenState} at the end of each text, [B, hidden_size]
   * @param textEmbeds its projection, [B, projection_dim], if the model has one
   */
  public record Output(
      Tensor lastHiddenState,
      List<Tensor> hiddenStates,
      Tensor pooled,
      @Nullable Tensor textEmbeds) {}

  /** A model whose parameters come from {@code weights}. */
  public CLIPTextModel(Weights weights, CLIPTextConfig config) {
    this(weights, config, false);
  }

  private CLIPTextModel(Weights weights, CLIPTextConfig config, boolean bare) {
    super(weights);
    this.config = config;
    this.bare = bare;
    textModel = child("text_model", w -> new TextTransformer(w, config, prompt));
    textProjection =
        config.projection()
            ? child(
                "text_projection",
                w -> new Linear(w, config.hiddenSize(), config.projectionDim(), false))
            : null;
  }

  /**
   * Reads a model folder of transformers: {@code config.json} and {@code model.safetensors}.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static CLIPTextModel open(Path folder) {
    CLIPTextConfig config = CLIPTextConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder)) {
      return of(weights, config);
    }
  }

  /**
   * A model of stored weights, all of which it must use; {@code position_ids} may be among them.
   * Files of transformers 5 leave out the prefix {@code text_model.} of a model without projection;
   * a model read from one is saved without it, too.
   *
   * @throws WeightsException naming what is missing, unused or does not fit
   */
  public static CLIPTextModel of(Weights weights, CLIPTextConfig config) {
    boolean bare = weights.has("embeddings.token_embedding.weight");
    Weights named = bare ? weights.rename(PREFIX::concat) : weights;
    CLIPTextModel model = new CLIPTextModel(named, config, bare);
    if (!named.unused().stream().allMatch(POSITIONS::equals)) {
      model.close();
      named.requireAllUsed();
    }
    return model;
  }

  /** Writes the model as a folder that transformers reads. */
  public void save(Path folder) {
    DType dtype = parameters().getFirst().value().dtype();
    String name =
        switch (dtype) {
          case F16 -> "float16";
          case BF16 -> "bfloat16";
          default -> "float32";
        };
    ModelConfig.write(folder.resolve("config.json"), config.toMap(name));
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    stateDict().forEach((k, v) -> tensors.put(bare ? k.substring(PREFIX.length()) : k, v));
    SafeTensors.save(folder.resolve("model.safetensors"), tensors);
  }

  /** The configuration. */
  public CLIPTextConfig config() {
    return config;
  }

  /** Where prompt tuning puts its vectors: before those of the tokens. */
  @Override
  public PromptSlot promptSlot() {
    return prompt;
  }

  @Override
  public int promptWidth() {
    return config.hiddenSize();
  }

  @Override
  public int positions() {
    return config.maxPositionEmbeddings();
  }

  /** The table of tokens [vocab_size, hidden_size]. */
  public Embedding tokenEmbedding() {
    return textModel.tokenEmbedding;
  }

  /**
   * The states that diffusion models are conditioned on.
   *
   * @param ids I64 [B, L], L at most max_position_embeddings
   * @return after the final normalisation, [B, L, hidden_size]
   */
  public Tensor call(Tensor ids) {
    check(ids);
    return call(() -> textModel.encode(ids).getLast());
  }

  /**
   * The states with the last blocks left out ("CLIP skip"), after the final normalisation.
   *
   * @param ids I64 [B, L]
   * @param skip how many blocks, 0 to num_hidden_layers - 1
   * @return [B, L, hidden_size]
   */
  public Tensor call(Tensor ids, int skip) {
    check(ids);
    if (skip < 0 || skip >= config.numHiddenLayers()) {
      throw new IllegalArgumentException(
          "CLIPTextModel: blocks to skip must be 0 to "
              + (config.numHiddenLayers() - 1)
              + "; got "
              + skip);
    }
    return call(
        () -> {
          List<Tensor> states = textModel.encode(ids);
          return textModel.finalLayerNorm.call(states.get(states.size() - 2 - skip));
        });
  }

  /**
   * All that the encoder gives; the tensors belong to the current scope.
   *
   * @param ids I64 [B, L]
   */
  public Output encode(Tensor ids) {
    check(ids);
    List<Tensor> states = textModel.encode(ids);
    Tensor last = states.getLast();
    Tensor pooled = pooled(last, ids); // [B, C]
    return new Output(
        last,
        List.copyOf(states.subList(0, states.size() - 1)),
        pooled,
        textProjection == null ? null : textProjection.call(pooled));
  }

  /** The states at the end of each text. */
  private Tensor pooled(Tensor states, Tensor ids) {
    int batch = ids.dim(0);
    int length = ids.dim(1);
    int before = states.dim(1) - length; // a prompt
    long[] tokens = ids.toLongArray();
    Tensor[] rows = new Tensor[batch];
    for (int b = 0; b < batch; b++) {
      int at = before + end(tokens, b * length, length);
      rows[b] = states.select(0, b).select(0, at); // [C]
    }
    return Shaping.stack(0, rows);
  }

  /**
   * Where a text ends. Files older than transformers 4.30 say eos_token_id 2, which is wrong; for
   * them it is the token of the largest number, which is the end in CLIP's own vocabulary. Else it
   * is the first end token, for padding may be by end tokens, too; 0 if there is none. Tokens
   * behind the vocabulary, of words that were added, end no text.
   */
  private int end(long[] tokens, int from, int length) {
    Integer eos = config.eosTokenId();
    int best = 0;
    for (int i = 0; i < length; i++) {
      if (eos == null || eos == 2) {
        boolean known = tokens[from + i] < config.vocabSize();
        best = known && tokens[from + i] > tokens[from + best] ? i : best;
      } else if (tokens[from + i] == eos) {
        return i;
      }
    }
    return best;
  }

  private void check(Tensor ids) {
    if (ids.rank() != 2 || ids.dtype() != DType.I64) {
      throw new ShapeException("CLIPTextModel: tokens must be I64 [B, L]; got " + ids.spec());
    }
    if (ids.dim(1) > config.maxPositionEmbeddings()) {
      throw new ShapeException(
          "CLIPTextModel: at most "
              + config.maxPositionEmbeddings()
              + " tokens have positions; got "
              + ids.spec());
    }
  }

  /** The transformer: embeddings, causal blocks, a final normalisation. */
  private static final class TextTransformer extends Module {
    private final PromptSlot prompt;
    private final int positions;
    private final Embedding tokenEmbedding;
    private final Embedding positionEmbedding;
    private final List<Block> layers;
    private final LayerNorm finalLayerNorm;

    TextTransformer(Weights weights, CLIPTextConfig config, PromptSlot prompt) {
      super(weights);
      this.prompt = prompt;
      positions = config.maxPositionEmbeddings();
      int width = config.hiddenSize();
      tokenEmbedding =
          child("embeddings.token_embedding", w -> new Embedding(w, config.vocabSize(), width));
      positionEmbedding =
          child(
              "embeddings.position_embedding",
              w -> new Embedding(w, config.maxPositionEmbeddings(), width));
      layers = children("encoder.layers", config.numHiddenLayers(), (w, i) -> new Block(w, config));
      finalLayerNorm =
          child("final_layer_norm", w -> new LayerNorm(w, width, config.layerNormEps(), true));
    }

    /** The embeddings, each block's result, and the last one normalised. */
    List<Tensor> encode(Tensor ids) {
      List<Tensor> states = new ArrayList<>();
      callInScope(
          () -> {
            Tensor tokens = prompt.before(tokenEmbedding.call(ids)); // [B, L, C]
            int length = tokens.dim(1);
            if (length > positions) {
              throw new ShapeException(
                  "CLIPTextModel: "
                      + positions
                      + " vectors have positions; "
                      + (length - ids.dim(1))
                      + " of the prompt leave none to some of the tokens "
                      + ids.spec());
            }
            Tensor at = Tensor.of(LongStream.range(0, length).toArray(), length).to(ids.device());
            Tensor x = tokens.add(positionEmbedding.call(at)); // [B, L, C]
            states.add(x);
            for (Block layer : layers) {
              x = layer.call(x);
              states.add(x);
            }
            states.add(finalLayerNorm.call(x));
            return x;
          });
      return states;
    }
  }

  /** One block: pre-normalised causal attention and feed-forward part. */
  private static final class Block extends Module {
    private final LayerNorm layerNorm1;
    private final SelfAttention selfAttn;
    private final LayerNorm layerNorm2;
    private final Linear fc1;
    private final Linear fc2;
    private final String hiddenAct;

    Block(Weights weights, CLIPTextConfig config) {
      super(weights);
      int width = config.hiddenSize();
      double eps = config.layerNormEps();
      selfAttn = child("self_attn", w -> new SelfAttention(w, width, config.numAttentionHeads()));
      layerNorm1 = child("layer_norm1", w -> new LayerNorm(w, width, eps, true));
      fc1 = child("mlp.fc1", w -> new Linear(w, width, config.intermediateSize()));
      fc2 = child("mlp.fc2", w -> new Linear(w, config.intermediateSize(), width));
      layerNorm2 = child("layer_norm2", w -> new LayerNorm(w, width, eps, true));
      hiddenAct = config.hiddenAct();
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            Tensor h = x.add(selfAttn.call(layerNorm1.call(x))); // [B, L, C]
            Tensor inner = activation(fc1.call(layerNorm2.call(h))); // [B, L, I]
            return h.add(fc2.call(inner)); // [B, L, C]
          });
    }

    private Tensor activation(Tensor x) {
      return switch (hiddenAct) {
        case "quick_gelu" -> x.mul(NN.sigmoid(x.mul(1.702)));
        case "gelu" -> NN.gelu(x);
        case "gelu_new", "gelu_pytorch_tanh" -> NN.geluTanh(x);
        case "silu" -> NN.silu(x);
        case "relu" -> NN.relu(x);
        default -> throw new IllegalStateException(hiddenAct);
      };
    }
  }

  /** Causal attention under CLIP's names. */
  private static final class SelfAttention extends Module implements PrefixSlot.Holder {
    private final PrefixSlot prefix = new PrefixSlot();
    private final int heads;
    private final int headWidth;
    private final Linear qProj;
    private final Linear kProj;
    private final Linear vProj;
    private final Linear outProj;

    SelfAttention(Weights weights, int width, int heads) {
      super(weights);
      this.heads = heads;
      this.headWidth = width / heads;
      kProj = child("k_proj", w -> new Linear(w, width, width));
      vProj = child("v_proj", w -> new Linear(w, width, width));
      qProj = child("q_proj", w -> new Linear(w, width, width));
      outProj = child("out_proj", w -> new Linear(w, width, width));
    }

    Tensor call(Tensor x) {
      return call(
          () -> {
            List<Tensor> qkv = Linear.callAll(x, qProj, kProj, vProj); // [B, L, C] each
            Tensor y =
                prefix.attend(
                    heads(qkv.get(0)), // [B, H, L, D]
                    heads(qkv.get(1)),
                    heads(qkv.get(2)),
                    AttentionOptions.of().causal(true));
            return outProj.call(y.permute(0, 2, 1, 3).reshape(x.dim(0), x.dim(1), x.dim(2)));
          });
    }

    @Override
    public PrefixSlot prefixSlot() {
      return prefix;
    }

    @Override
    public int heads() {
      return heads;
    }

    @Override
    public int headWidth() {
      return headWidth;
    }

    private Tensor heads(Tensor x) {
      return x.reshape(x.dim(0), x.dim(1), heads, x.dim(2) / heads).permute(0, 2, 1, 3);
    }
  }
}
