// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.exec.ModulePath;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class CachingAllocatorTest {
  private static final long MB = 1 << 20;

  /** A device of so many bytes that hands out addresses in rising order. */
  private static final class FakeDevice implements CachingAllocator.Source {
    final Map<Long, Long> segments = new TreeMap<>();
    final long size;
    long taken;
    long next = 512;

    FakeDevice(long size) {
      this.size = size;
    }

    @Override
    public long allocate(long bytes) {
      if (taken + bytes > size) {
        return 0;
      }
      taken += bytes;
      long address = next;
      next += bytes + 512;
      segments.put(address, bytes);
      return address;
    }

    @Override
    public void free(long address) {
      taken -= segments.remove(address);
    }
  }

  private final FakeDevice device = new FakeDevice(200 * MB);
  private final CachingAllocator memory = new CachingAllocator("cuda:0 (fake)", device);

  @Test
  void aFreedBlockServesTheNextRequestOfItsSize() {
    long a = memory.allocate(3 * MB);
    memory.free(a);
    assertEquals(a, memory.allocate(3 * MB));
    assertEquals(1, device.segments.size());
  }

  @Test
  void smallAndLargeRequestsDoNotShareSegments() {
    long small = memory.allocate(1000);
    long large = memory.allocate(3 * MB);
    assertEquals(2, device.segments.size());
    assertTrue(Math.abs(small - large) >= 2 * MB);
    assertEquals(0, memory.allocate(1) % 512);
    assertTrue(memory.allocate(0) != 0);
    assertEquals(4, memory.stats().buffers());
  }

  @Test
  void neighboursAreJoined() {
    long a = memory.allocate(6 * MB);
    long b = memory.allocate(6 * MB);
    long c = memory.allocate(6 * MB);
    memory.free(a);
    memory.free(c);
    memory.free(b);
    long all = memory.allocate(20 * MB);
    assertEquals(a, all);
    assertEquals(1, device.segments.size());
  }

  @Test
  void aFullDeviceGetsUnusedSegmentsBackBeforeAnythingFails() {
    List<Long> blocks = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      blocks.add(memory.allocate(20 * MB));
    }
    blocks.forEach(memory::free);
    long one = memory.allocate(190 * MB);
    assertEquals(1, device.segments.size());
    memory.free(one);
    memory.trim();
    assertEquals(0, device.taken);
    assertEquals(0, memory.stats().reserved());
  }

  @Test
  void outOfMemorySaysWhoHoldsIt() {
    ModulePath.push("down_blocks.0.resnets.1");
    memory.allocate(100 * MB);
    ModulePath.pop();
    memory.allocate(50 * MB);
    DeviceException e = assertThrows(DeviceException.class, () -> memory.allocate(60 * MB));
    String text = e.getMessage();
    assertTrue(text.contains("cuda:0 (fake) is out of memory: 62.9 MB were asked for"), text);
    assertTrue(text.contains("104.9 MB in 1 buffers: down_blocks.0.resnets.1"), text);
    assertTrue(text.contains("52.4 MB in 1 buffers: (outside of modules)"), text);
    assertTrue(text.indexOf("down_blocks") < text.indexOf("outside"), text);
    memory.allocate(10 * MB); // work goes on
  }

  @Test
  void freeingTwiceIsNoticed() {
    long a = memory.allocate(100);
    memory.free(a);
    assertThrows(IllegalStateException.class, () -> memory.free(a));
  }

  @Test
  void randomUseNeverOverlapsAndEndsWhereItBegan() {
    Random random = new Random(1);
    TreeMap<Long, Long> live = new TreeMap<>();
    long most = 0;
    for (int i = 0; i < 20_000; i++) {
      if (live.size() > 40 || (!live.isEmpty() && random.nextBoolean())) {
        List<Long> keys = new ArrayList<>(live.keySet());
        long address = keys.get(random.nextInt(keys.size()));
        live.remove(address);
        memory.free(address);
      } else {
        long bytes = 1 + (long) Math.exp(random.nextDouble() * Math.log(4e6));
        long address = memory.allocate(bytes);
        Map.Entry<Long, Long> before = live.floorEntry(address);
        assertTrue(before == null || before.getKey() + before.getValue() <= address);
        Map.Entry<Long, Long> after = live.ceilingEntry(address);
        assertTrue(after == null || address + bytes <= after.getKey());
        live.put(address, bytes);
      }
      most = Math.max(most, memory.stats().live());
    }
    assertEquals(live.size(), memory.stats().buffers());
    assertEquals(most, memory.stats().peak());
    live.keySet().forEach(memory::free);
    assertEquals(0, memory.stats().live());
    memory.trim();
    assertEquals(0, device.segments.size());
  }

  @Test
  void memoryOfAPoolServesNobodyElseUntilItIsDissolved() {
    CachingAllocator.Pool pool = memory.newPool();
    memory.use(pool);
    long a = memory.allocate(3 * MB);
    long b = memory.allocate(1000);
    long kept = memory.allocate(2000);
    memory.free(a);
    memory.free(b);
    assertEquals(a, memory.allocate(3 * MB)); // within the pool memory is used again
    memory.free(a);
    memory.use(null);
    assertNotEquals(a, memory.allocate(3 * MB));
    assertNotEquals(b, memory.allocate(1000));
    memory.trim();
    assertTrue(device.segments.containsKey(a));
    memory.dissolve(pool);
    assertEquals(a, memory.allocate(20 * MB)); // the whole segment
    memory.free(kept);
    assertEquals(20 + 3 + 1.0 / 512, memory.stats().live() / (double) MB, 1e-2);
  }

  @Test
  void aScriptAnswersRequestsAgainAndFreesNothing() {
    AllocationScript script = new AllocationScript();
    memory.follow(script);
    long a = memory.allocate(100);
    memory.free(a);
    long b = memory.allocate(200);
    memory.follow(null);
    long other = memory.allocate(100);
    script.play();
    memory.follow(script);
    long live = memory.stats().live();
    assertEquals(a, memory.allocate(100));
    memory.free(a);
    assertEquals(b, memory.allocate(200));
    memory.free(b);
    assertThrows(IllegalStateException.class, () -> memory.allocate(100));
    script.play();
    assertThrows(IllegalStateException.class, () -> memory.allocate(101));
    memory.free(other); // not from the script
    memory.follow(null);
    assertEquals(live - 512, memory.stats().live());
    memory.free(b);
  }
}
