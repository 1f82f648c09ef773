// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A strict JSON reader for headers and indexes. The caller says what it expects next, so nothing is
 * built that is not wanted: a hostile header costs no more memory than what it describes. Invalid
 * UTF-8, unpaired surrogates, fractions where integers belong and deep nesting are refused, with
 * the byte offset.
 */
final class HeaderJson {
  /** The depth of nesting at which the reference implementation (serde_json) gives up, too. */
  static final int MAX_DEPTH = 128;

  /** The text does not have the required form. */
  static final class Malformed extends Exception {
    private static final long serialVersionUID = 1;

    Malformed(int offset, String what) {
      super(what + " at byte " + offset);
    }
  }

  /** Reads the value of one member of an object. */
  @FunctionalInterface
  interface Member {
    void read(String key) throws Malformed;
  }

  /** Reads one element of an array. */
  @FunctionalInterface
  interface Element {
    void read(int index) throws Malformed;
  }

  private final CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder(); // reports errors
  private final byte[] text;
  private int at;

  HeaderJson(byte[] utf8) {
    this.text = utf8;
  }

  /** Reads an object; {@code member} must read or {@link #skip} each value. */
  void object(Member member) throws Malformed {
    expect('{');
    if (peek() == '}') {
      at++;
      return;
    }
    while (true) {
      String key = string();
      expect(':');
      member.read(key);
      if (peek() != ',') {
        expect('}');
        return;
      }
      at++;
    }
  }

  /** Reads an array; {@code element} must read or {@link #skip} each value. */
  void array(Element element) throws Malformed {
    expect('[');
    if (peek() == ']') {
      at++;
      return;
    }
    for (int i = 0; ; i++) {
      element.read(i);
      if (peek() != ',') {
        expect(']');
        return;
      }
      at++;
    }
  }

  /** Reads an array of unsigned 64-bit integers. */
  List<Long> integers() throws Malformed {
    List<Long> values = new ArrayList<>();
    array(i -> values.add(integer()));
    return List.copyOf(values);
  }

  /** Reads an unsigned 64-bit integer, written with digits only. */
  long integer() throws Malformed {
    char first = peek();
    int start = at;
    long value = 0;
    boolean overflow = false;
    while (at < text.length && text[at] >= '0' && text[at] <= '9') {
      int digit = text[at++] - '0';
      overflow |= Math.unsignedMultiplyHigh(value, 10) != 0;
      value *= 10;
      overflow |= Long.compareUnsigned(value, -1L - digit) > 0;
      value += digit;
    }
    boolean continues = at < text.length && ".eE+-".indexOf(text[at]) >= 0;
    if (at == start || continues || (first == '0' && at - start > 1)) {
      throw new Malformed(start, "an unsigned integer without fraction or exponent was expected");
    }
    if (overflow) {
      throw new Malformed(start, "integer exceeds 64 bits");
    }
    return value;
  }

  /** Reads {@code null} if that comes next. */
  boolean tryNull() throws Malformed {
    boolean isNull = peek() == 'n';
    if (isNull) {
      word("null");
    }
    return isNull;
  }

  /** Reads a string. */
  String string() throws Malformed {
    expect('"');
    int start = at;
    int seen = 0;
    int c = current();
    while (c != '"' && c != '\\') {
      seen |= c;
      at++;
      c = current();
    }
    if (c == '"') {
      at++;
      int length = at - 1 - start;
      return seen < 0x80
          ? new String(text, start, length, StandardCharsets.ISO_8859_1)
          : decode(start, text, start, length);
    }
    ByteArrayOutputStream decoded = new ByteArrayOutputStream();
    decoded.write(text, start, at - start);
    while (current() != '"') {
      if (current() == '\\') {
        decoded.writeBytes(escape().getBytes(StandardCharsets.UTF_8));
      } else {
        decoded.write(text[at++]);
      }
    }
    at++;
    byte[] bytes = decoded.toByteArray();
    return decode(start, bytes, 0, bytes.length);
  }

  /** The byte of a string at the position. */
  private int current() throws Malformed {
    if (at >= text.length) {
      throw malformed("unexpected end");
    }
    int c = text[at] & 0xff;
    if (c < 0x20) {
      throw malformed("unescaped control character in a string");
    }
    return c;
  }

  private String decode(int where, byte[] bytes, int from, int length) throws Malformed {
    try {
      return decoder.decode(ByteBuffer.wrap(bytes, from, length)).toString();
    } catch (CharacterCodingException e) {
      throw new Malformed(where, "string is not UTF-8");
    }
  }

  private String escape() throws Malformed {
    at++;
    int c = current();
    at++;
    return switch (c) {
      case '"', '\\', '/' -> String.valueOf((char) c);
      case 'b' -> "\b";
      case 'f' -> "\f";
      case 'n' -> "\n";
      case 'r' -> "\r";
      case 't' -> "\t";
      case 'u' -> unicode();
      default -> throw new Malformed(at - 2, "unknown escape in a string");
    };
  }

  /** Four hexadecimal digits, or a surrogate pair of two times four. */
  private String unicode() throws Malformed {
    int start = at - 2;
    char unit = hexadecimal();
    if (!Character.isSurrogate(unit)) {
      return String.valueOf(unit);
    }
    if (Character.isHighSurrogate(unit)
        && at + 1 < text.length
        && text[at] == '\\'
        && text[at + 1] == 'u') {
      at += 2;
      char low = hexadecimal();
      if (Character.isLowSurrogate(low)) {
        return String.valueOf(new char[] {unit, low});
      }
    }
    throw new Malformed(start, "unpaired surrogate in a string");
  }

  private char hexadecimal() throws Malformed {
    int code = 0;
    for (int i = 0; i < 4; i++) {
      int c = current();
      int digit = c < 0x80 ? Character.digit(c, 16) : -1;
      if (digit < 0) {
        throw malformed("bad \\u escape");
      }
      code = 16 * code + digit;
      at++;
    }
    return (char) code;
  }

  /** Passes over any value. */
  void skip() throws Malformed {
    skip(0);
  }

  private void skip(int depth) throws Malformed {
    if (depth > MAX_DEPTH) {
      throw malformed("nesting deeper than " + MAX_DEPTH);
    }
    switch (peek()) {
      case '{' -> object(key -> skip(depth + 1));
      case '[' -> array(i -> skip(depth + 1));
      case '"' -> string();
      case 'n' -> word("null");
      case 't' -> word("true");
      case 'f' -> word("false");
      default -> number();
    }
  }

  private void word(String word) throws Malformed {
    for (int i = 0; i < word.length(); i++) {
      if (at + i >= text.length || text[at + i] != word.charAt(i)) {
        throw malformed("unknown word");
      }
    }
    at += word.length();
  }

  /** Any number, as RFC 8259 writes them. */
  private void number() throws Malformed {
    int start = at;
    take('-');
    boolean zero = take('0');
    boolean fine = zero || digits();
    if (take('.')) {
      fine &= digits();
    }
    if (take('e') || take('E')) {
      if (!take('+')) {
        take('-');
      }
      fine &= digits();
    }
    if (!fine) {
      throw new Malformed(start, "a value was expected");
    }
  }

  private boolean take(char c) {
    boolean found = at < text.length && text[at] == c;
    at += found ? 1 : 0;
    return found;
  }

  private boolean digits() {
    int start = at;
    while (at < text.length && text[at] >= '0' && text[at] <= '9') {
      at++;
    }
    return at > start;
  }

  /**
   * Checks that nothing but white space follows.
   *
   * @throws Malformed if something does
   */
  void end() throws Malformed {
    skipSpace();
    if (at != text.length) {
      throw malformed("text after the end");
    }
  }

  /** The next byte that is not white space, left where it is. */
  char peek() throws Malformed {
    skipSpace();
    if (at >= text.length) {
      throw malformed("unexpected end");
    }
    return (char) (text[at] & 0xff);
  }

  private void skipSpace() {
    while (at < text.length
        && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r')) {
      at++;
    }
  }

  private void expect(char c) throws Malformed {
    if (peek() != c) {
      throw malformed("expected '" + c + "' but found " + shown(text[at] & 0xff));
    }
    at++;
  }

  private static String shown(int c) {
    return c > 0x20 && c < 0x7f ? "'" + (char) c + "'" : String.format("byte 0x%02x", c);
  }

  /** A complaint about the current position. */
  Malformed malformed(String what) {
    return new Malformed(at, what);
  }

  /** A name from a file as messages show it: quoted, control characters escaped, shortened. */
  static String quoted(@Nullable Object name) {
    String s = String.valueOf(name);
    StringBuilder shown = new StringBuilder("\"");
    for (int i = 0; i < Math.min(s.length(), 200); i++) {
      char c = s.charAt(i);
      boolean plain = !Character.isISOControl(c) && !Character.isSurrogate(c);
      shown.append(plain ? String.valueOf(c) : String.format("\\u%04x", (int) c));
    }
    return shown.append(s.length() > 200 ? "…\"" : "\"").toString();
  }
}
