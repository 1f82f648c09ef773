// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Pictures inside the page, as data. */
final class Pictures {
  /** Previews that are shown of each run; of more, equally spaced ones. */
  static final int MOST = 24;

  /** A larger file is named and not shown. */
  static final long MAX_BYTES = 8L << 20;

  private static final Pattern STEP = Pattern.compile("step-0*(\\d+)\\.png");

  private final Html page;

  Pictures(Html page) {
    this.page = page;
  }

  /** Equally spaced ones of many, first and last among them. */
  static List<Path> some(List<Path> all) {
    if (all.size() <= MOST) {
      return all;
    }
    List<Path> chosen = new ArrayList<>();
    for (int i = 0; i < MOST; i++) {
      chosen.add(all.get((int) Math.round((double) i * (all.size() - 1) / (MOST - 1))));
    }
    return chosen;
  }

  /** The step in a preview's name, or the name. */
  static String caption(Path file) {
    String name = String.valueOf(file.getFileName());
    Matcher m = STEP.matcher(name);
    return m.matches() ? "step " + Html.number(Double.parseDouble(m.group(1))) : name;
  }

  /** A picture with a line under it. */
  void show(Path file, String caption) {
    page.raw("<figure><figcaption>").text(caption);
    try {
      long bytes = Files.size(file);
      if (bytes > MAX_BYTES) {
        page.text(" – has " + Html.bytes(bytes) + ", too much for this page")
            .raw("</figcaption></figure>\n");
        return;
      }
      String data = Base64.getEncoder().encodeToString(Files.readAllBytes(file));
      page.raw("</figcaption><img alt=\"")
          .text(caption)
          .raw("\" src=\"data:image/png;base64," + data + "\"></figure>\n");
    } catch (IOException e) {
      page.text(" – cannot be read: " + e).raw("</figcaption></figure>\n");
    }
  }
}
