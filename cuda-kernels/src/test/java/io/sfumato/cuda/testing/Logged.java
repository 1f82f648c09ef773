// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** What a class writes to the log. */
public final class Logged {
  private Logged() {}

  /** The lines of a class while something runs: level, a space, and the message. */
  public static List<String> by(Class<?> source, Runnable body) {
    List<String> lines = new ArrayList<>();
    Logger logger = Logger.getLogger(source.getName());
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord r) {
            lines.add(r.getLevel() + " " + new SimpleFormatter().formatMessage(r));
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    logger.addHandler(handler);
    try {
      body.run();
    } finally {
      logger.removeHandler(handler);
    }
    return lines;
  }
}
