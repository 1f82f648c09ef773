// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes a shared object need another version of a library: {@code libcublas.so.12} becomes {@code
 * libcublas.so.13}. The names have equal lengths, so nothing moves: in an ELF file of 64 bits the
 * name of the needed file, the name of the version of its symbols (which may be the same string)
 * and the hash of that version name are overwritten.
 */
public final class Relink {
  // ELF: program header types and tags of the dynamic section
  private static final int PT_LOAD = 1;
  private static final int PT_DYNAMIC = 2;
  private static final int DT_NULL = 0;
  private static final int DT_NEEDED = 1;
  private static final int DT_STRTAB = 5;
  private static final int DT_VERNEED = 0x6ffffffe;
  private static final int DT_VERNEEDNUM = 0x6fffffff;

  private final ByteBuffer elf;

  private Relink(byte[] bytes) {
    elf = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * The same object with another needed library.
   *
   * @param object an ELF file of 64 bits, little endian
   * @param from the name of a library it needs
   * @param to a name of the same length
   * @throws IllegalArgumentException if it is no such file, or does not need {@code from}
   */
  public static byte[] relink(byte[] object, String from, String to) {
    if (from.length() != to.length()) {
      throw new IllegalArgumentException(from + " and " + to + " differ in length");
    }
    byte[] copy = object.clone();
    try {
      new Relink(copy).replace(from, to);
    } catch (IndexOutOfBoundsException e) {
      throw new IllegalArgumentException("the object is cut off or damaged", e);
    }
    return copy;
  }

  private void replace(String from, String to) {
    if (elf.getInt(0) != 0x464c457f || elf.get(4) != 2 || elf.get(5) != 1) {
      throw new IllegalArgumentException("not an ELF file of 64 bits, little endian");
    }
    int dynamic = segment(PT_DYNAMIC, 0);
    long strings = -1;
    long versions = -1;
    int count = 0;
    List<Long> needed = new ArrayList<>();
    for (int d = dynamic; elf.getLong(d) != DT_NULL; d += 16) {
      long value = elf.getLong(d + 8);
      switch (Math.toIntExact(elf.getLong(d) & 0xffffffffL)) {
        case DT_NEEDED -> needed.add(value);
        case DT_STRTAB -> strings = offset(value);
        case DT_VERNEED -> versions = offset(value);
        case DT_VERNEEDNUM -> count = (int) value;
        default -> {}
      }
    }
    if (strings < 0) {
      throw new IllegalArgumentException("the object has no table of names");
    }
    List<Integer> places = new ArrayList<>();
    for (long name : needed) {
      addIf(places, (int) (strings + name), from);
    }
    if (places.isEmpty()) {
      throw new IllegalArgumentException("the object does not need " + from);
    }
    int entry = (int) versions;
    for (int i = 0; i < count; i++) {
      int file = (int) (strings + elf.getInt(entry + 4));
      if (text(file).equals(from)) {
        places.add(file);
        int aux = entry + elf.getInt(entry + 8);
        for (int j = 0; j < elf.getShort(entry + 2); j++) {
          if (addIf(places, (int) (strings + elf.getInt(aux + 8)), from)) {
            elf.putInt(aux, hash(to));
          }
          aux += elf.getInt(aux + 12);
        }
      }
      entry += elf.getInt(entry + 12);
    }
    for (int place : places) {
      elf.put(place, to.getBytes(StandardCharsets.US_ASCII));
    }
  }

  private boolean addIf(List<Integer> places, int place, String expected) {
    boolean same = text(place).equals(expected);
    if (same) {
      places.add(place);
    }
    return same;
  }

  /** Where in the file the memory address {@code address} comes from. */
  private long offset(long address) {
    int header = header(PT_LOAD, address);
    return address - elf.getLong(header + 16) + elf.getLong(header + 8);
  }

  private int segment(int type, long address) {
    return Math.toIntExact(elf.getLong(header(type, address) + 8));
  }

  /** The program header of a type; of loaded segments that which holds an address. */
  private int header(int type, long address) {
    int headers = Math.toIntExact(elf.getLong(32));
    for (int i = 0; i < elf.getShort(56); i++) {
      int header = headers + i * elf.getShort(54);
      long start = elf.getLong(header + 16);
      boolean holds = address >= start && address < start + elf.getLong(header + 32);
      if (elf.getInt(header) == type && (type != PT_LOAD || holds)) {
        return header;
      }
    }
    throw new IllegalArgumentException("the object lacks a segment");
  }

  private String text(int at) {
    int end = at;
    while (elf.get(end) != 0) {
      end++;
    }
    return new String(elf.array(), at, end - at, StandardCharsets.US_ASCII);
  }

  /** The hash of a version's name (System V ABI). */
  static int hash(String name) {
    int h = 0;
    for (int i = 0; i < name.length(); i++) {
      h = (h << 4) + name.charAt(i);
      int top = h & 0xf0000000;
      h = (h ^ top >>> 24) & ~top;
    }
    return h;
  }
}
