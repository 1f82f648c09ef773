// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Keeps what a package logs during a test, instead of printing it. */
public final class LogCapture extends Handler implements BeforeEachCallback, AfterEachCallback {
  private final Logger logger;
  private final List<String> lines = new CopyOnWriteArrayList<>();

  /** Keeps the lines of the logger {@code name}. */
  public LogCapture(String name) {
    logger = Logger.getLogger(name);
  }

  /** Returns the lines so far: level, a space, and the message. */
  public List<String> lines() {
    return List.copyOf(lines);
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    logger.setUseParentHandlers(false);
    logger.addHandler(this);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    logger.removeHandler(this);
    logger.setUseParentHandlers(true);
  }

  @Override
  public void publish(LogRecord record) {
    lines.add(record.getLevel() + " " + new SimpleFormatter().formatMessage(record));
  }

  @Override
  public void flush() {}

  @Override
  public void close() {}
}
