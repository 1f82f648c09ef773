// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Golden;
import org.junit.jupiter.api.Test;

/** Schedules against diffusers' formulas and PyTorch's schedulers. */
class ScheduleTest {
  private static void assertSchedule(String name, Schedule schedule) {
    double[] expected = new Golden("schedules.txt").get(name);
    for (int step = 0; step < expected.length; step++) {
      assertEquals(expected[step], schedule.factor(step), 1e-12, name + " at " + step);
    }
  }

  @Test
  void linearWithWarmup() {
    assertSchedule("linear", Schedule.linear(40).withWarmup(10));
  }

  @Test
  void cosineWithWarmup() {
    assertSchedule("cosine", Schedule.cosine(40).withWarmup(10));
  }

  @Test
  void cosineWithRestartsAndWarmup() {
    assertSchedule("restarts", Schedule.cosineWithRestarts(40, 3).withWarmup(10));
  }

  @Test
  void oneCycle() {
    assertSchedule("one_cycle", Schedule.oneCycle(50));
  }

  @Test
  void polynomial() {
    assertSchedule("polynomial", Schedule.polynomial(40, 2, 0));
    assertEquals(0.25, Schedule.polynomial(40, 2, 0.25).factor(41));
    assertEquals(1, Schedule.polynomial(40, 2, 0.25).factor(0));
  }

  @Test
  void constant() {
    assertEquals(0.5, Schedule.constant().withWarmup(4).factor(2));
    assertEquals(1, Schedule.constant().withWarmup(4).factor(4));
    assertThrows(IllegalArgumentException.class, () -> Schedule.linear(0));
  }

  @Test
  void namedKindsAreThoseOfTransformers() {
    Golden golden = new Golden("named_schedules.txt");
    for (ScheduleKind kind : ScheduleKind.values()) {
      ScheduleKind.Shape shape =
          kind == ScheduleKind.CONSTANT
              ? ScheduleKind.Shape.DEFAULT
              : new ScheduleKind.Shape(7, 3, 2);
      Schedule schedule = ScheduleKind.parse(kind.label()).over(50, shape, 3e-4);
      double[] expected = golden.get(kind.label());
      for (int step = 0; step < expected.length; step++) {
        assertEquals(expected[step], 3e-4 * schedule.factor(step), 1e-15, kind + " at " + step);
      }
    }
    String message =
        assertThrows(IllegalArgumentException.class, () -> ScheduleKind.parse("cosinus"))
            .getMessage();
    assertTrue(message.contains("cosine_with_restarts"), message);
    assertThrows(
        IllegalArgumentException.class,
        () -> ScheduleKind.CONSTANT.over(50, new ScheduleKind.Shape(7, 1, 1), 1));
  }
}
