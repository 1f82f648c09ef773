// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import java.util.List;
import java.util.Locale;

/** The text of a page. What is not markup of ours goes through {@link #escape}. */
final class Html {
  private final StringBuilder out = new StringBuilder();

  /** Text as it is to be read, safe between tags and in quoted attributes. */
  static String escape(String text) {
    StringBuilder safe = new StringBuilder(text.length() + 16);
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '&' -> safe.append("&amp;");
        case '<' -> safe.append("&lt;");
        case '>' -> safe.append("&gt;");
        case '"' -> safe.append("&quot;");
        case '\'' -> safe.append("&#39;");
        default -> safe.append(c < ' ' && c != '\n' && c != '\t' ? '\uFFFD' : c);
      }
    }
    return safe.toString();
  }

  /** Appends markup as it is. */
  Html raw(String markup) {
    out.append(markup);
    return this;
  }

  /** Appends text. */
  Html text(String text) {
    return raw(escape(text));
  }

  /** Appends an element with text in it. */
  Html element(String tag, String text) {
    return raw("<" + tag + ">").text(text).raw("</" + tag + ">\n");
  }

  /** Begins a section. */
  Html section(String title) {
    return raw("<section><h2>").text(title).raw("</h2>\n");
  }

  /** Ends a section. */
  Html end() {
    return raw("</section>\n");
  }

  /** Appends a table; cells of columns whose title ends with a space are numbers. */
  Html table(List<String> titles, List<List<String>> rows) {
    raw("<div class=\"wide\"><table><thead><tr>");
    for (String title : titles) {
      raw(title.endsWith(" ") ? "<th class=\"n\">" : "<th>").text(title.strip()).raw("</th>");
    }
    raw("</tr></thead><tbody>\n");
    for (List<String> row : rows) {
      raw("<tr>");
      for (int i = 0; i < row.size(); i++) {
        raw(titles.get(i).endsWith(" ") ? "<td class=\"n\">" : "<td>")
            .text(row.get(i))
            .raw("</td>");
      }
      raw("</tr>\n");
    }
    return raw("</tbody></table></div>\n");
  }

  /** A number of bytes with its unit. */
  static String bytes(long bytes) {
    return bytes((double) bytes);
  }

  /** A whole number. */
  static String number(long value) {
    return String.format(Locale.ROOT, "%,d", value);
  }

  /** A number of bytes with its unit. */
  static String bytes(double bytes) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    double value = bytes;
    while (Math.abs(value) >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0
        ? String.format(Locale.ROOT, "%.0f B", value)
        : String.format(Locale.ROOT, "%.1f %s", value, units[unit]);
  }

  /** A duration in words: {@code 1 h 02 min 03 s}. */
  static String duration(double seconds) {
    long s = Math.round(seconds);
    if (seconds < 60) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    return s < 3600
        ? String.format(Locale.ROOT, "%d min %02d s", s / 60, s % 60)
        : String.format(Locale.ROOT, "%d h %02d min", s / 3600, s % 3600 / 60);
  }

  /** A number with about four significant digits. */
  static String number(double value) {
    if (!Double.isFinite(value)) {
      return Double.toString(value);
    }
    double size = Math.abs(value);
    if (value == Math.rint(value) && size < 1e15) {
      return String.format(Locale.ROOT, "%,d", (long) value);
    }
    if (size != 0 && (size < 1e-3 || size >= 1e6)) {
      return String.format(Locale.ROOT, "%.3e", value);
    }
    return String.format(Locale.ROOT, size >= 10 ? "%.1f" : size >= 1 ? "%.3f" : "%.4f", value);
  }

  @Override
  public String toString() {
    return out.toString();
  }
}
