// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Textual inversion (Gal et al. 2022, <a href="https://arxiv.org/abs/2208.01618">
 * arXiv:2208.01618</a>): a new word of CLIP's text encoder, whose vectors alone are trained.
 * Prompts with the word must be encoded by {@link #tokenizer()}; the one it was made of stays as it
 * was, and so do the encoder's parameters and files.
 *
 * {@snippet :
 * try (var toy = TextualInversion.create(tokenizer, encoder, "<my-toy>", 2, "toy", rng)) {
 *   var conditioner = new Conditioner.Clip(toy.tokenizer(), encoder);
 *   var result = Autograd.valueAndGrad(toy.parameters(), () -> loss(conditioner));
 *   toy.save(Path.of("learned_embeds.safetensors"));
 * }
 * }
 *
 * <p>For several words, make each from the tokenizer of the one before. An adapter that changes the
 * table of tokens, LoRA of the embedding say, must be attached before the words are.
 */
public final class TextualInversion implements AutoCloseable {
  /** The key of files of A1111's web interface, which have no word. */
  private static final String NAMELESS = "emb_params";

  /** The keys of SDXL's two encoders. */
  private static final List<String> OF_SDXL = List.of("clip_l", "clip_g");

  private final String word;
  private final CLIPTokenizer tokenizer;
  private final AdapterSet rows;

  private TextualInversion(String word, CLIPTokenizer tokenizer, AdapterSet rows) {
    this.word = word;
    this.tokenizer = tokenizer;
    this.rows = rows;
  }

  /**
   * A word that is to be trained.
   *
   * @param tokenizer the encoder's tokenizer
   * @param encoder gets the vectors, beside its table
   * @param word the new word, {@code <my-toy>} say; its tokens are named {@code <my-toy>}, {@code
   *     <my-toy>_1} and so on
   * @param count how many vectors it has
   * @param like what the vectors start as: the tokens of this text, the last repeated; empty for
   *     N(0, 0.02²)
   * @param rng the source of first values
   * @throws IllegalArgumentException if the word, or one of its tokens, exists, or {@code like} has
   *     more tokens than vectors
   */
  public static TextualInversion create(
      CLIPTokenizer tokenizer,
      CLIPTextModel encoder,
      String word,
      int count,
      String like,
      Rng rng) {
    CLIPTokenizer more = tokenizer.withWord(word, count);
    Embedding table = table(encoder);
    List<Integer> first = like.isEmpty() ? List.of() : tokenizer.tokens(like);
    if (first.size() > count || (first.isEmpty() && !like.isEmpty())) {
      throw new IllegalArgumentException(
          "\""
              + like
              + "\" has "
              + first.size()
              + " tokens; it must have 1 to "
              + count
              + " to be what the vectors start as");
    }
    AdapterSet rows =
        AdapterSet.attach(encoder, table.path()::equals, new TrainedTokens(more.tokens(word)), rng);
    if (!first.isEmpty()) {
      long[] ids =
          IntStream.range(0, count)
              .mapToLong(i -> first.get(Math.min(i, first.size() - 1)))
              .toArray();
      try (Scope scope = Scope.open()) {
        Tensor weight = table.weight().value();
        Tensor known = NN.embedding(Tensor.of(ids, count).to(weight.device()), weight);
        Updates.copy(rows.parameters().getFirst().value(), known);
      }
    }
    return new TextualInversion(word, more, rows);
  }

  /**
   * Reads a word: {@code learned_embeds.safetensors} of diffusers, whose only key is the word;
   * files of A1111's web interface as safetensors; files for SDXL, with {@code clip_l} and {@code
   * clip_g}, of which the encoder gets those of its width.
   *
   * @param tokenizer the encoder's tokenizer
   * @param encoder gets the vectors, beside its table
   * @param file a safetensors file
   * @param word the word; null for the file's, if it has one
   * @throws IllegalArgumentException if the file has no vectors of the encoder's width or no word,
   *     if the word exists, or if it is not safetensors; the encoder stays as it was
   * @throws TensorFileException if the file is corrupt
   */
  public static TextualInversion open(
      CLIPTokenizer tokenizer, CLIPTextModel encoder, Path file, @Nullable String word) {
    String name = String.valueOf(file.getFileName());
    if (name.matches("(?i).*\\.(pt|bin|pth|ckpt)")) {
      throw new IllegalArgumentException(
          file
              + ": is a file of Python objects, which may run code when it is read; write its"
              + " tensor to a safetensors file, the word as key (safetensors.torch.save_file)");
    }
    Embedding table = table(encoder);
    try (TensorSource source = SafeTensors.open(file);
        Scope scope = Scope.open()) {
      String key = key(source, width(table));
      boolean named = !key.equals(NAMELESS) && !OF_SDXL.contains(key);
      String chosen = word != null ? word : named ? key : null;
      if (chosen == null) {
        throw new IllegalArgumentException(file + ": holds no word; say which one it is to be");
      }
      Tensor vectors = source.read(key);
      if (vectors.rank() == 1) {
        vectors = vectors.reshape(1, vectors.dim(0));
      }
      CLIPTokenizer more = tokenizer.withWord(chosen, vectors.dim(0));
      String full = table.path() + "." + TrainedTokens.NAME;
      try (Weights weights = Weights.from(TensorSource.of(Map.of(full, vectors)))) {
        TrainedTokens kind = new TrainedTokens(more.tokens(chosen));
        AdapterSet rows =
            AdapterSet.attach(
                encoder,
                table.path()::equals,
                layer -> kind,
                weights.as(table.weight().value().dtype()));
        try {
          StoredValues.check(rows, file.toString());
        } catch (IllegalArgumentException e) {
          rows.close();
          throw e;
        }
        return new TextualInversion(chosen, more, rows);
      }
    }
  }

  /** The key whose vectors have the width: the only one, or the one for the encoder. */
  private static String key(TensorSource source, int width) {
    List<String> fits = new ArrayList<>();
    List<String> shapes = new ArrayList<>();
    source
        .entries()
        .forEach(
            (key, entry) -> {
              List<Long> dims = entry.dims();
              shapes.add(key + " " + dims);
              if ((dims.size() == 1 || (dims.size() == 2 && dims.getFirst() > 0))
                  && dims.getLast() == width) {
                fits.add(key);
              }
            });
    boolean two = OF_SDXL.containsAll(source.entries().keySet());
    if (fits.size() != 1 || (source.entries().size() > 1 && !two)) {
      throw new IllegalArgumentException(
          source.description()
              + ": must hold the vectors of one word, [n, "
              + width
              + "], or those of SDXL's encoders as "
              + OF_SDXL
              + ", of which one has that width; got "
              + shapes);
    }
    return fits.getFirst();
  }

  private static Embedding table(CLIPTextModel encoder) {
    return encoder.tokenEmbedding();
  }

  private static int width(Embedding table) {
    return table.weight().value().dim(1);
  }

  /** The word. */
  public String word() {
    return word;
  }

  /** The tokenizer that knows the word. */
  public CLIPTokenizer tokenizer() {
    return tokenizer;
  }

  /** The vectors [n, width], as an adapter of the encoder. */
  public AdapterSet adapter() {
    return rows;
  }

  /** What trains: the vectors. */
  public List<Parameter> parameters() {
    return rows.parameters();
  }

  /**
   * Writes a file as diffusers does: the vectors [n, width] under the word. With both encoders of
   * SDXL, use {@link #saveSdxl}.
   *
   * @throws TensorFileException if it cannot be written
   */
  public void save(Path file) {
    SafeTensors.save(file, Map.of(word, vectors()), Map.of("format", "pt"));
  }

  /**
   * Writes the vectors of one word for SDXL's two encoders, under {@code clip_l} and {@code
   * clip_g}. The word is not in the file.
   *
   * @throws IllegalArgumentException if they are of different words or lengths
   * @throws TensorFileException if it cannot be written
   */
  public static void saveSdxl(TextualInversion clipL, TextualInversion clipG, Path file) {
    Tensor l = clipL.vectors();
    Tensor g = clipG.vectors();
    if (!clipL.word.equals(clipG.word) || l.dim(0) != g.dim(0)) {
      throw new IllegalArgumentException(
          "both encoders must have vectors of one word; got "
              + l.dim(0)
              + " of "
              + clipL.word
              + " and "
              + g.dim(0)
              + " of "
              + clipG.word);
    }
    SafeTensors.save(file, Map.of("clip_l", l, "clip_g", g), Map.of("format", "pt"));
  }

  private Tensor vectors() {
    return rows.parameters().getFirst().value();
  }

  /** Takes the word out of the encoder. */
  @Override
  public void close() {
    rows.close();
  }
}
