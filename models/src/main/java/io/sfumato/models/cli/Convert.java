// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.pipeline.SingleFile;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.models.train.TrainingFiles;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.ops.Updates;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Converts weights: to another floating-point type, into shards or out of them, from a pipeline to
 * a single file and back. Adapters change their dialect in {@link MergeAdapters}, for their names
 * need the model.
 */
@Command(
    name = "convert",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Converts a safetensors file to a file, a model folder to a folder, a pipeline folder to a"
            + " single file (an output that ends with .safetensors), or a single file of Stable"
            + " Diffusion 1 to a pipeline folder (with --tokenizer). The input stays as it is.")
public final class Convert implements Callable<Integer> {
  @Parameters(index = "0", paramLabel = "INPUT", description = "A file or folder.")
  private Path input = Path.of("");

  @Parameters(index = "1", paramLabel = "OUTPUT", description = "What is written.")
  private Path output = Path.of("");

  @Option(
      names = "--dtype",
      description = "f32, f16 or bf16, of all floating-point tensors; as they are if absent.")
  private @Nullable String dtype;

  @Option(
      names = "--max-shard-megabytes",
      description = "Of a model folder: files of at most so much; one file if absent.")
  private @Nullable Integer shardMegabytes;

  @Option(
      names = "--tokenizer",
      description = "Of a single file: the folder with vocab.json and merges.txt.")
  private @Nullable Path tokenizer;

  private Convert() {}

  /**
   * Runs the program and exits: 0 when done, 1 after a failure, 2 after wrong options or input.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new Convert(), args);
  }

  @Override
  public Integer call() {
    require(Files.exists(input), input + ": there is no such file or folder");
    require(
        !output.toAbsolutePath().normalize().equals(input.toAbsolutePath().normalize()),
        output + ": the output must not be the input");
    require(
        shardMegabytes == null || shardMegabytes > 0,
        "--max-shard-megabytes must be positive; got " + shardMegabytes);
    type(); // checks it
    boolean toFile = output.toString().endsWith(".safetensors");
    boolean pipeline = Files.exists(input.resolve("model_index.json"));
    if (Files.isDirectory(input) && pipeline) {
      require(toFile, output + ": a pipeline converts to a single file, *.safetensors");
      requireAsStored();
      try (LatentDiffusion read = LatentDiffusion.open(input)) {
        SingleFile.save(output, read);
      }
    } else if (Files.isDirectory(input)) {
      require(!toFile, output + ": a model folder converts to a folder");
      folder();
    } else if (tokenizer != null) {
      require(!toFile, output + ": a single file converts to a folder");
      requireAsStored();
      CLIPTokenizer words = CLIPTokenizer.open(tokenizer);
      try (LatentDiffusion read = SingleFile.open(input, words, SingleFile.stableDiffusion1())) {
        TrainingFiles.makeFolder(output);
        read.save(output);
      }
    } else {
      require(toFile, output + ": a file converts to *.safetensors; or give --tokenizer");
      require(shardMegabytes == null, "--max-shard-megabytes is for model folders");
      try (TensorSource source = TensorSource.open(input);
          Scope scope = Scope.open()) {
        SafeTensors.save(output, converted(source), source.metadata());
      }
    }
    say("wrote %s", output);
    return 0;
  }

  private void requireAsStored() {
    require(
        dtype == null && shardMegabytes == null,
        "--dtype and --max-shard-megabytes are for files and model folders");
  }

  private @Nullable DType type() {
    return dtype == null ? null : Program.floatingType(dtype);
  }

  private void folder() {
    try (TensorSource source = TensorSource.open(input);
        Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = converted(source);
      String base = isWeights("diffusion_pytorch_model") ? "diffusion_pytorch_model" : "model";
      TrainingFiles.makeFolder(output);
      if (shardMegabytes == null) {
        SafeTensors.save(output.resolve(base + ".safetensors"), tensors, source.metadata());
      } else {
        ShardedTensors.save(output, base, tensors, (long) shardMegabytes << 20);
      }
    }
    copyOthers();
  }

  /** Whether the model folder has weights with such a name. */
  private boolean isWeights(String base) {
    return files().stream().anyMatch(f -> f.getFileName().toString().startsWith(base));
  }

  /** The configuration and whatever else lies beside the weights. */
  private void copyOthers() {
    for (Path file : files()) {
      String name = file.getFileName().toString();
      if (!name.contains(".safetensors")) {
        try {
          Files.copy(file, output.resolve(name), StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
          throw new UncheckedIOException(output.resolve(name) + ": cannot be written", e);
        }
      }
    }
  }

  private List<Path> files() {
    try (Stream<Path> all = Files.list(input)) {
      return all.filter(Files::isRegularFile).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(input + ": cannot be listed", e);
    }
  }

  private Map<String, Tensor> converted(TensorSource source) {
    DType to = type();
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (String name : source.entries().keySet()) {
      Tensor tensor = source.read(name);
      tensors.put(
          name, to != null && tensor.dtype().isFloating() ? cast(name, tensor, to) : tensor);
    }
    return tensors;
  }

  /** A value that the narrower type cannot hold is no small error: it becomes infinite. */
  private static Tensor cast(String name, Tensor tensor, DType to) {
    Tensor result = tensor.to(to);
    if (!isFinite(result) && isFinite(tensor)) {
      throw new IllegalArgumentException(
          name + " has values that " + to + " cannot hold; convert to bf16 or f32 instead");
    }
    return result;
  }

  private static boolean isFinite(Tensor tensor) {
    return Double.isFinite(
        Scope.run(() -> Updates.squaredNorm(List.of(tensor.to(DType.F64)))).item());
  }
}
