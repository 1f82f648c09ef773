// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.yaml.snakeyaml.LoaderOptions;

/**
 * Reads YAML and remembers the line of each value. Anchors, aliases and tags are refused: a few
 * lines of aliases of aliases can stand for billions of values, and {@code extends} does what
 * aliases are used for.
 */
final class ConfigReader {
  /** Larger files are no configurations. */
  static final int MAX_BYTES = 1 << 20;

  private static final int MAX_DEPTH = 32;

  private final YAMLParser parser;
  private final String name;

  private ConfigReader(YAMLParser parser, String name) {
    this.parser = parser;
    this.name = name;
  }

  /**
   * Reads a file.
   *
   * @return its mapping; an empty one of an empty file
   * @throws IllegalArgumentException with file and line if it cannot be read or is no mapping
   */
  static ConfigNode.Mapping read(Path file) {
    String text;
    try {
      if (Files.isDirectory(file)) {
        throw new IllegalArgumentException(file + ": is a folder, no configuration file");
      }
      if (!Files.exists(file)) {
        throw new IllegalArgumentException(file + ": there is no such configuration file");
      }
      if (Files.size(file) > MAX_BYTES) {
        throw new IllegalArgumentException(
            file + ": has " + Files.size(file) + " bytes; a configuration has a megabyte at most");
      }
      text = Files.readString(file);
    } catch (IOException e) {
      throw new IllegalArgumentException(file + ": cannot be read: " + e, e);
    }
    ConfigNode node = parse(text, file.toString());
    if (node instanceof ConfigNode.Scalar(String value, String where) && value == null) {
      return new ConfigNode.Mapping(Map.of(), where);
    }
    if (node instanceof ConfigNode.Mapping mapping) {
      return mapping;
    }
    throw new IllegalArgumentException(
        node.where()
            + ": a configuration is a mapping, name: value; this is a "
            + (node instanceof ConfigNode.Scalar ? "value" : "list"));
  }

  /**
   * Reads a text.
   *
   * @param name of the file, for errors and {@link ConfigNode#where}
   */
  static ConfigNode parse(String text, String name) {
    LoaderOptions limits = new LoaderOptions();
    limits.setCodePointLimit(MAX_BYTES);
    limits.setNestingDepthLimit(MAX_DEPTH);
    try (YAMLParser parser =
        YAMLFactory.builder().loaderOptions(limits).build().createParser(text)) {
      ConfigReader reader = new ConfigReader(parser, name);
      JsonToken first = parser.nextToken();
      ConfigNode node =
          first == null ? new ConfigNode.Scalar(null, name + ":1") : reader.node(first);
      if (parser.nextToken() != null) {
        throw reader.refused("a second document begins; a configuration is one");
      }
      return node;
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw new IllegalArgumentException(
          name
              + ":"
              + line
              + ": is no YAML: "
              + e.getOriginalMessage().strip().lines().findFirst().orElse(""),
          e);
    } catch (IOException e) {
      throw new IllegalArgumentException(name + ": is no YAML: " + e.getMessage(), e);
    }
  }

  private ConfigNode node(JsonToken token) throws IOException {
    String where = where();
    if (parser.isCurrentAlias()) {
      throw refused(
          "the alias *"
              + parser.getText()
              + " is refused; put what is shared into a file and use"
              + " extends");
    }
    if (parser.getObjectId() != null) {
      throw refused(
          "the anchor &"
              + parser.getObjectId()
              + " is refused; put what is shared into a file and"
              + " use extends");
    }
    if (parser.getTypeId() != null) {
      throw refused("the tag !" + parser.getTypeId() + " is refused; plain values need none");
    }
    if (token == JsonToken.START_ARRAY) {
      List<ConfigNode> items = new ArrayList<>();
      for (JsonToken t = parser.nextToken(); t != JsonToken.END_ARRAY; t = parser.nextToken()) {
        items.add(node(t));
      }
      return new ConfigNode.Sequence(items, where);
    }
    if (token == JsonToken.START_OBJECT) {
      return mapping(where);
    }
    return new ConfigNode.Scalar(token == JsonToken.VALUE_NULL ? null : parser.getText(), where);
  }

  private ConfigNode mapping(String where) throws IOException {
    Map<String, ConfigNode> entries = new LinkedHashMap<>();
    for (JsonToken t = parser.nextToken(); t != JsonToken.END_OBJECT; t = parser.nextToken()) {
      String key = parser.currentName();
      String at = where();
      ConfigNode before = entries.get(key);
      if (before != null) {
        throw new IllegalArgumentException(
            at + ": " + key + " was given already, at " + before.where());
      }
      entries.put(key, node(parser.nextToken()));
    }
    return new ConfigNode.Mapping(entries, where);
  }

  private String where() {
    return name + ":" + parser.currentTokenLocation().getLineNr();
  }

  private IllegalArgumentException refused(String why) {
    return new IllegalArgumentException(where() + ": " + why);
  }
}
