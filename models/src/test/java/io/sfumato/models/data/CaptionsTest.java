// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CaptionsTest {
  @TempDir Path folder;

  @BeforeEach
  void draw() {
    for (String name : List.of("a", "b", "c")) {
      ImageFiles.writePng(folder.resolve("x/" + name + ".png"), new byte[12], 3, 2, 2);
    }
  }

  private List<Optional<String>> captions() {
    PictureFolder data = PictureFolder.open(folder);
    return List.of(data.caption(0), data.caption(1), data.caption(2));
  }

  private void assertRefused(String file, String content, String why) throws IOException {
    Files.writeString(folder.resolve(file), content);
    DatasetException e = assertThrows(DatasetException.class, this::captions);
    assertTrue(e.getMessage().contains(why), e.getMessage());
    Files.delete(folder.resolve(file));
  }

  @Test
  void tablesAreReadAsHuggingFaceDoes() throws IOException {
    Files.writeString(
        folder.resolve("metadata.csv"),
        "\uFEFFseed,file_name,text\r\n"
            + "1,x/a.png,\"two words, and \"\"quotes\"\"\nin two lines\"\r\n"
            + "\r\n"
            + "2,\"x/c.png\",plain 5\" disk");
    assertEquals(
        List.of(
            Optional.of("two words, and \"quotes\"\nin two lines"),
            Optional.empty(),
            Optional.of("plain 5\" disk")),
        captions());
    Files.delete(folder.resolve("metadata.csv"));
    Files.writeString(folder.resolve("x/metadata.csv"), "file_name,caption\nb.png,\"\"\na.png,A\n");
    Files.writeString(folder.resolve("x/b.txt"), "beside");
    assertEquals(List.of(Optional.of("A"), Optional.empty(), Optional.empty()), captions());
  }

  @Test
  void tablesThatCannotBeMeantAreRefused() throws IOException {
    assertRefused("metadata.csv", "", "line 1 must have the columns");
    assertRefused("metadata.csv", "file_name,label\nx/a.png,1\n", "it has file_name, label");
    assertRefused(
        "metadata.csv", "file_name,text\n\"x/a.png,A\n", "line 2 has a quote that is not closed");
    assertRefused(
        "metadata.csv", "file_name,text\nx/a.png,\"A\nB\"\nx/b.png\n", "line 4 has 1 fields");
    assertRefused(
        "metadata.csv", "file_name,text\nx/a.png,\"A\" B\n", "line 2 has more text behind");
    assertRefused("metadata.csv", "file_name,text\nx/z.png,A\n", "x/z.png, which is not there");
    assertRefused(
        "metadata.csv", "file_name,text\nx/a.png,A\nx/a.png,B\n", "line 3 is about x/a.png once");
    Files.writeString(folder.resolve("x/metadata.jsonl"), "");
    assertRefused("metadata.csv", "file_name,text\n", "keep one kind");
  }

  @Test
  void linesThatCannotBeMeantAreRefused() throws IOException {
    String good = "{\"file_name\": \"x/a.png\", \"text\": \"A\"}";
    Files.writeString(folder.resolve("metadata.jsonl"), "\uFEFF" + good + "\n\n");
    assertEquals(Optional.of("A"), captions().getFirst());
    assertRefused("metadata.jsonl", good + good, "line 1 is no JSON object");
    assertRefused(
        "metadata.jsonl", good + "\n{\"file_name\":\"a\",\"text\":\"A\",\"text\":\"B\"}", "line 2");
    assertRefused(
        "metadata.jsonl",
        "{\"file_name\": \"a\\u0000b\", \"text\": \"A\"}",
        "line 1 has a file_name that no file can have");
    assertRefused("metadata.jsonl", "{\"file_name\": \"x/a.png\"}", "line 1 must have");
    assertRefused("metadata.jsonl", "[]", "line 1 must have");
  }
}
