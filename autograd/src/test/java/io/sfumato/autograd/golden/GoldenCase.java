// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One case of {@code golden/ops}: an operation, its attributes, and where its tensors are.
 *
 * @param name unique name
 * @param op the operation, as in the facades
 * @param file the file that holds the tensors
 * @param json the whole entry
 */
record GoldenCase(String name, String op, String file, JsonNode json) {
  /**
   * All cases of an index; {@code file} holds their tensors, or null for one file per operation.
   */
  static List<GoldenCase> read(String index, @Nullable String file) {
    try (InputStream in = resource(index)) {
      List<GoldenCase> cases = new ArrayList<>();
      for (JsonNode json : new ObjectMapper().readTree(in)) {
        String op = json.get("op").asText();
        String tensors = file == null ? op + ".safetensors" : file;
        cases.add(new GoldenCase(json.get("name").asText(), op, tensors, json));
      }
      return cases;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Copies the tensors of this case to {@code folder}, once, and opens them. */
  SafeTensors open(Path folder) {
    Path copy = folder.resolve(file);
    if (!Files.exists(copy)) {
      try (InputStream in = resource(file)) {
        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return SafeTensors.open(copy);
  }

  private static InputStream resource(String file) throws IOException {
    InputStream in = GoldenCase.class.getResourceAsStream("/golden/ops/" + file);
    if (in == null) {
      throw new IOException("no resource /golden/ops/" + file);
    }
    return in;
  }

  JsonNode attrs() {
    return json.get("attrs");
  }

  double rtol() {
    return json.get("rtol").asDouble();
  }

  double atol() {
    return json.get("atol").asDouble();
  }

  /** The inputs, floating ones as {@code floating}. */
  Tensor[] inputs(SafeTensors file, DType floating) {
    List<Tensor> inputs = new ArrayList<>();
    for (JsonNode key : json.get("inputs")) {
      Tensor t = file.read(key.asText());
      inputs.add(t.dtype().isFloating() ? t.to(floating) : t);
    }
    return inputs.toArray(Tensor[]::new);
  }

  /** The expected outputs. */
  List<Tensor> outputs(SafeTensors file) {
    List<Tensor> outputs = new ArrayList<>();
    json.get("outputs").forEach(key -> outputs.add(file.read(key.asText())));
    return outputs;
  }

  /** The numbers of the inputs that have an expected gradient. */
  int[] variables() {
    List<Integer> variables = new ArrayList<>();
    for (int i = 0; i < json.get("grads").size(); i++) {
      if (!json.get("grads").get(i).isNull()) {
        variables.add(i);
      }
    }
    return variables.stream().mapToInt(Integer::intValue).toArray();
  }

  /** The expected gradient of an input that has one. */
  Tensor gradient(SafeTensors file, int input) {
    return file.read(json.get("grads").get(input).asText());
  }

  /** What the first output is multiplied with, or null if it has no gradient. */
  @Nullable Tensor cotangent(SafeTensors file, DType floating) {
    JsonNode key = json.get("cotangent");
    return key.isNull() ? null : file.read(key.asText()).to(floating);
  }

  @Override
  public String toString() {
    return name;
  }
}
