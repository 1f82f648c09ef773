// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static io.sfumato.tensor.io.TensorFiles.assertSays;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardedTensorsTest {
  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @TempDir private Path folder;
  private Path index;

  @BeforeEach
  void shards() {
    index = folder.resolve("model.safetensors.index.json");
    Scope.run(
        () -> {
          Map<String, Tensor> first = Map.of("a", Tensor.full(1, 2), "b", Tensor.full(2, 1));
          SafeTensors.save(folder.resolve(FIRST), first, Map.of("format", "pt", "one", "1"));
          SafeTensors.save(folder.resolve(SECOND), Map.of("c", Tensor.full(3, 3)));
        });
  }

  private void map(String... pairs) throws IOException {
    StringBuilder text =
        new StringBuilder("{\"metadata\": {\"total_size\": 2.4e1}, \"weight_map\": {");
    for (int i = 0; i < pairs.length; i += 2) {
      text.append(i == 0 ? "" : ", ");
      text.append('"').append(pairs[i]).append("\": \"").append(pairs[i + 1]).append('"');
    }
    Files.writeString(index, text.append("}}\n"));
  }

  private TensorFileException fails() {
    return assertThrows(TensorFileException.class, () -> ShardedTensors.open(index).close());
  }

  @Test
  void readsAcrossShards() throws IOException {
    map("c", SECOND, "a", FIRST, "b", FIRST);
    try (TensorSource source = TensorSource.open(index);
        Scope scope = Scope.open()) {
      assertEquals(Set.of("a", "b", "c"), source.entries().keySet());
      assertEquals(Map.of("format", "pt", "one", "1"), source.metadata());
      assertArrayEquals(new float[] {1, 1}, source.read("a").toFloatArray());
      assertArrayEquals(new float[] {3, 3, 3}, source.read("c").toFloatArray());
      assertEquals(index.toString(), source.description());
      TensorFileException e = assertThrows(TensorFileException.class, () -> source.read("d"));
      assertSays(e, index, "no tensor \"d\"");
    }
  }

  @Test
  void aMissingShardIsNamed() throws IOException {
    map("a", FIRST, "b", FIRST, "c", SECOND, "d", "model-00003.safetensors");
    Files.delete(folder.resolve(SECOND));
    assertSays(
        fails(),
        index,
        "shard \"" + SECOND + "\" is missing",
        "shard \"model-00003.safetensors\" is missing");
  }

  @Test
  void everyDisagreementIsListed() throws IOException {
    map("a", SECOND, "c", SECOND, "d", FIRST);
    assertSays(
        fails(),
        index,
        "tensor \"a\" is not in " + SECOND,
        "tensor \"a\" is also in " + FIRST,
        "tensor \"d\" is not in " + FIRST,
        "tensor \"b\" of " + FIRST + " is not in the index");
  }

  @Test
  void aTensorInTwoShardsIsRefused() throws IOException {
    Scope.run(
        () ->
            SafeTensors.save(
                folder.resolve(SECOND), Map.of("c", Tensor.zeros(1), "a", Tensor.zeros(2))));
    map("a", FIRST, "b", FIRST, "c", SECOND);
    assertSays(fails(), index, "tensor \"a\" is also in " + SECOND);
  }

  @Test
  void aBrokenShardIsNamed() throws IOException {
    map("a", FIRST, "b", FIRST, "c", SECOND);
    Files.write(folder.resolve(SECOND), new byte[] {1, 2, 3});
    assertSays(fails(), folder.resolve(SECOND), "too short");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../x.safetensors",
        "/etc/passwd",
        "sub/x.safetensors",
        "..",
        ".",
        "",
        "\\\\u0000",
        "\\\\u002e\\\\u002e/x",
        "..\\\\\\\\x",
        "C:x.safetensors",
        "./x.safetensors",
        "a\\\\nb"
      })
  void namesThatLeadElsewhereAreRefused(String name) throws IOException {
    map("a", name.replace("\\\\", "\\"));
    assertSays(fails(), index, "must be a plain file name");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}",
        "{\"weight_map\":{},\"weight_map\":{}}",
        "{\"weight_map\":{}} x",
        "{\"weight_map\":{}",
        "{\"metadata\":{\"total_size\":NaN}}"
      })
  void anIndexOfAnotherFormIsRefused(String text) throws IOException {
    Files.writeString(index, text);
    assertSays(fails(), index, "index");
  }

  @Test
  void anIndexThatIsNoTextIsRefused() throws IOException {
    Files.write(index, "{\"weight_map\":{\"\u00e9\":\"x\"}}".getBytes(StandardCharsets.ISO_8859_1));
    assertSays(fails(), index, "UTF-8");
    Files.delete(index);
    assertSays(fails(), index, "no such file");
  }

  @Test
  void longListsAreCut() throws IOException {
    String[] pairs = new String[200];
    for (int i = 0; i < 100; i++) {
      pairs[2 * i] = "t" + i;
      pairs[2 * i + 1] = FIRST;
    }
    map(pairs);
    String message = fails().getMessage();
    assertTrue(message.endsWith("; and 82 more"), message);
  }

  private static Map<String, Tensor> five() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (String name : List.of("e", "d", "c", "b", "a")) {
      tensors.put(name, Tensor.full(name.charAt(0), name.equals("c") ? 10 : 3)); // 12 or 40 bytes
    }
    return tensors;
  }

  private Set<String> files() throws IOException {
    try (Stream<Path> all = Files.list(folder)) {
      return all.map(p -> p.getFileName().toString()).collect(Collectors.toSet());
    }
  }

  private void assertReads(Path file) {
    try (TensorSource source = TensorSource.open(file);
        Scope scope = Scope.open()) {
      Map<String, Tensor> expected = five();
      assertEquals(expected.keySet(), source.entries().keySet());
      assertEquals(Map.of("format", "pt"), source.metadata());
      expected.forEach(
          (name, t) -> assertArrayEquals(t.toFloatArray(), source.read(name).toFloatArray()));
    }
  }

  @Test
  void savesShardsThatItReads() throws IOException {
    Path other = Files.writeString(folder.resolve("model-00001-of-00002.safetensors.txt"), "x");
    Scope.run(() -> assertEquals(index, ShardedTensors.save(folder, "model", five(), 24)));
    assertReads(folder);
    assertEquals(
        """
        {
          "metadata": {
            "total_size": 88
          },
          "weight_map": {
            "a": "model-00003-of-00003.safetensors",
            "b": "model-00003-of-00003.safetensors",
            "c": "model-00002-of-00003.safetensors",
            "d": "model-00001-of-00003.safetensors",
            "e": "model-00001-of-00003.safetensors"
          }
        }
        """,
        Files.readString(index));
    assertEquals(
        Set.of(
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            other.getFileName().toString(),
            "model.safetensors.index.json"),
        files());
  }

  @Test
  void whatFitsIsOneFile() throws IOException {
    Scope.run(() -> ShardedTensors.save(folder, "model", five(), 24));
    Scope.run(() -> ShardedTensors.save(folder, "model", five(), 88));
    assertEquals(Set.of("model.safetensors"), files());
    assertReads(folder);
    Scope.run(() -> ShardedTensors.save(folder, "model", five(), 87));
    assertReads(index);
    assertEquals(3, files().size()); // two shards, one index
    Scope.run(() -> ShardedTensors.save(folder, "model", Map.of(), 1));
    assertEquals(Set.of("model.safetensors"), files());
  }

  @Test
  void aSaveThatStopsHalfWayLeavesNoIndexOfMixedShards() throws IOException {
    Scope.run(() -> ShardedTensors.save(folder, "model", five(), 24));
    Path inTheWay = folder.resolve("model-00002-of-00003.safetensors");
    Files.delete(inTheWay);
    Files.createDirectories(inTheWay.resolve("x"));
    Scope.run(
        () ->
            assertSays(
                assertThrows(
                    TensorFileException.class,
                    () -> ShardedTensors.save(folder, "model", five(), 24)),
                inTheWay,
                "cannot be written"));
    assertSays(fails(), index, "no such file");
  }

  @Test
  void wrongArgumentsOfSaveAreRefused() {
    assertThrows(
        IllegalArgumentException.class, () -> ShardedTensors.save(folder, "model", Map.of(), 0));
    assertThrows(
        TensorFileException.class, () -> ShardedTensors.save(folder, "../model", Map.of(), 9));
  }
}
