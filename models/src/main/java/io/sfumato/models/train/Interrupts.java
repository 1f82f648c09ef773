// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Turns Ctrl-C (SIGINT), SIGTERM and SIGHUP into a flag that a loop looks at, so that the loop ends
 * where it wants to, in a JVM that is not shutting down: in one that is, pictures can no longer be
 * written, since Java's graphics ask for shutdown hooks. A second Ctrl-C ends the process at once;
 * a second SIGTERM does not, since Maven sends one after the terminal has sent a SIGINT.
 *
 * <p>A signal that cannot be caught, because the process was started with it ignored or the JVM
 * with {@code -Xrs}, keeps its effect.
 */
public final class Interrupts implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  /** The exit code that shells give to a process that SIGINT ended. */
  public static final int EXIT_CODE = 130;

  private record Caught(Object signal, Object former) {}

  private final List<Caught> caught = new ArrayList<>();
  private volatile boolean requested;

  private Interrupts() {}

  /** Catches the signals until {@link #close}. */
  public static Interrupts catchSignals() {
    Interrupts interrupts = new Interrupts();
    for (String name : List.of("INT", "TERM", "HUP")) {
      interrupts.catchSignal(name);
    }
    return interrupts;
  }

  /** Whether a signal came. */
  public boolean requested() {
    return requested;
  }

  /**
   * Reflection, because javac warns of every mention of {@code sun.misc.Signal} and no annotation
   * stops it.
   */
  private void catchSignal(String name) {
    try {
      Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
      Class<?> signalType = Class.forName("sun.misc.Signal");
      Object handler =
          Proxy.newProxyInstance(
              Interrupts.class.getClassLoader(),
              new Class<?>[] {handlerType},
              (proxy, method, arguments) ->
                  switch (method.getName()) {
                    case "handle" -> {
                      come(name);
                      yield null;
                    }
                    case "hashCode" -> System.identityHashCode(proxy);
                    case "equals" -> proxy == arguments[0];
                    default -> "handler of SIG" + name;
                  });
      Object signal = signalType.getConstructor(String.class).newInstance(name);
      Object former =
          signalType.getMethod("handle", signalType, handlerType).invoke(null, signal, handler);
      caught.add(new Caught(signal, former));
    } catch (ReflectiveOperationException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      LOG.log(
          System.Logger.Level.DEBUG,
          () -> String.format(Locale.ROOT, "SIG%s is not caught: %s", name, cause));
    }
  }

  private void come(String name) {
    if (requested && name.equals("INT")) {
      Runtime.getRuntime().halt(EXIT_CODE);
    }
    requested = true;
  }

  /** Gives the signals back to those who had them. */
  @Override
  public void close() {
    for (Caught c : caught) {
      try {
        Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
        c.signal
            .getClass()
            .getMethod("handle", c.signal.getClass(), handlerType)
            .invoke(null, c.signal, c.former);
      } catch (ReflectiveOperationException e) {
        LOG.log(System.Logger.Level.WARNING, "a signal keeps its handler", e);
      }
    }
    caught.clear();
  }
}
