// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Reads comma-separated values: fields may be in double quotes, and then hold commas, line breaks
 * and doubled quotes; empty lines are left alone.
 *
 * <p>Source: RFC 4180.
 */
final class Csv {
  private final Path file;
  private final String text;
  private final List<Row> rows = new ArrayList<>();
  private int at;
  private int line = 1;

  /**
   * A row.
   *
   * @param line the line it begins in, from 1 on
   * @param fields its fields
   */
  record Row(int line, List<String> fields) {}

  private Csv(Path file, String text) {
    this.file = file;
    this.text = text;
  }

  /**
   * {@return the rows of a file, which all have as many fields as the first}
   *
   * @param file for messages
   * @param text its content
   * @throws DatasetException if it breaks a rule of the format, naming the line
   */
  static List<Row> rows(Path file, String text) {
    Csv csv = new Csv(file, text);
    while (csv.at < text.length()) {
      csv.row();
    }
    return csv.rows;
  }

  private void row() {
    int begin = line;
    List<String> fields = new ArrayList<>();
    do {
      fields.add(text.startsWith("\"", at) ? quoted() : plain());
    } while (ends(','));
    if (!ends('\n') && at < text.length()) {
      throw wrong(line, "has more text behind a closing quote");
    }
    if (fields.size() == 1 && fields.getFirst().isEmpty()) {
      return;
    }
    if (!rows.isEmpty() && fields.size() != rows.getFirst().fields.size()) {
      throw wrong(
          begin,
          "has " + fields.size() + " fields; the first has " + rows.getFirst().fields.size());
    }
    rows.add(new Row(begin, List.copyOf(fields)));
  }

  private DatasetException wrong(int where, String what) {
    return DatasetException.of(file, "line " + where + " " + what);
  }

  /** Passes over a separator, if it comes next; a line may end with CR LF. */
  private boolean ends(char separator) {
    int next = separator == '\n' && text.startsWith("\r\n", at) ? at + 1 : at;
    if (next < text.length() && text.charAt(next) == separator) {
      at = next + 1;
      line += separator == '\n' ? 1 : 0;
      return true;
    }
    return false;
  }

  private String plain() {
    int begin = at;
    while (at < text.length()
        && text.charAt(at) != ','
        && text.charAt(at) != '\n'
        && !text.startsWith("\r\n", at)) {
      at++;
    }
    return text.substring(begin, at);
  }

  private String quoted() {
    int begin = line;
    StringBuilder field = new StringBuilder();
    at++;
    while (at < text.length()) {
      char c = text.charAt(at++);
      if (c == '"') {
        if (!text.startsWith("\"", at)) {
          return field.toString();
        }
        at++;
      }
      line += c == '\n' ? 1 : 0;
      field.append(c);
    }
    throw wrong(begin, "has a quote that is not closed");
  }
}
