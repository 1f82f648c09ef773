// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A strict JSON reader for headers: objects, arrays, strings, unsigned integers and null, which is
 * all a safetensors header may hold. Duplicate keys, fractions, negative numbers, unpaired
 * surrogates and deep nesting are refused, with the byte offset.
 */
final class HeaderJson {
  private static final int MAX_DEPTH = 8;
  private static final BigInteger MAX_U64 = BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);

  /** The text does not have the required form. */
  static final class Malformed extends Exception {
    private static final long serialVersionUID = 1;

    Malformed(int offset, String what) {
      super(what + " at character " + offset);
    }
  }

  /** The JSON value null, which the maps and lists here hold in place of a Java null. */
  static final Object NULL = new Object();

  private final String text;
  private int at;

  private HeaderJson(String text) {
    this.text = text;
  }

  /**
   * Reads an object that is the whole text but for white space.
   *
   * @return values are Map, List, String, BigInteger or {@link #NULL}
   */
  static Map<String, Object> parseObject(String text) throws Malformed {
    HeaderJson reader = new HeaderJson(text);
    reader.skipSpace();
    Map<String, Object> object = reader.object(0);
    reader.skipSpace();
    if (reader.at != text.length()) {
      throw reader.malformed("text after the object");
    }
    return object;
  }

  private Object value(int depth) throws Malformed {
    if (depth > MAX_DEPTH) {
      throw malformed("nesting deeper than " + MAX_DEPTH);
    }
    return switch (peek()) {
      case '{' -> object(depth);
      case '[' -> array(depth);
      case '"' -> string();
      case 'n' -> nothing();
      default -> number();
    };
  }

  private Map<String, Object> object(int depth) throws Malformed {
    Map<String, Object> result = new LinkedHashMap<>();
    expect('{');
    skipSpace();
    if (peek() == '}') {
      at++;
      return result;
    }
    while (true) {
      skipSpace();
      int start = at;
      String key = string();
      skipSpace();
      expect(':');
      skipSpace();
      if (result.putIfAbsent(key, value(depth + 1)) != null) {
        throw new Malformed(start, "duplicate key \"" + key + "\"");
      }
      skipSpace();
      if (peek() == ',') {
        at++;
      } else {
        expect('}');
        return result;
      }
    }
  }

  private List<Object> array(int depth) throws Malformed {
    List<Object> result = new ArrayList<>();
    expect('[');
    skipSpace();
    if (peek() == ']') {
      at++;
      return result;
    }
    while (true) {
      skipSpace();
      result.add(value(depth + 1));
      skipSpace();
      if (peek() == ',') {
        at++;
      } else {
        expect(']');
        return result;
      }
    }
  }

  private String string() throws Malformed {
    expect('"');
    StringBuilder s = new StringBuilder();
    while (true) {
      char c = next();
      if (c == '"') {
        break;
      }
      if (c < 0x20) {
        throw malformed("unescaped control character in a string");
      }
      s.append(c == '\\' ? escape() : c);
    }
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      boolean pair =
          Character.isHighSurrogate(c)
              && i + 1 < s.length()
              && Character.isLowSurrogate(s.charAt(i + 1));
      if (Character.isSurrogate(c) && !pair) {
        throw malformed("unpaired surrogate in a string");
      }
      i += pair ? 1 : 0;
    }
    return s.toString();
  }

  private char escape() throws Malformed {
    char c = next();
    return switch (c) {
      case '"', '\\', '/' -> c;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        int code = 0;
        for (int i = 0; i < 4; i++) {
          int digit = Character.digit(next(), 16);
          if (digit < 0) {
            throw malformed("bad \\u escape");
          }
          code = 16 * code + digit;
        }
        yield (char) code;
      }
      default -> throw malformed("unknown escape \\" + c);
    };
  }

  private BigInteger number() throws Malformed {
    int start = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
      at++;
    }
    int length = at - start;
    boolean leadingZero = length > 1 && text.charAt(start) == '0';
    if (length == 0 || length > 20 || leadingZero) {
      throw new Malformed(start, "an unsigned 64-bit integer was expected");
    }
    if (at < text.length() && ".eE".indexOf(text.charAt(at)) >= 0) {
      throw malformed("numbers must be written without fraction or exponent");
    }
    BigInteger n = new BigInteger(text.substring(start, at));
    if (n.compareTo(MAX_U64) > 0) {
      throw new Malformed(start, "number exceeds 64 bits");
    }
    return n;
  }

  private Object nothing() throws Malformed {
    if (!text.startsWith("null", at)) {
      throw malformed("unknown word");
    }
    at += 4;
    return NULL;
  }

  private void skipSpace() {
    while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char peek() throws Malformed {
    if (at >= text.length()) {
      throw malformed("unexpected end");
    }
    return text.charAt(at);
  }

  private char next() throws Malformed {
    char c = peek();
    at++;
    return c;
  }

  private void expect(char c) throws Malformed {
    if (peek() != c) {
      throw malformed("expected '" + c + "' but found '" + peek() + "'");
    }
    at++;
  }

  private Malformed malformed(String what) {
    return new Malformed(at, what);
  }
}
