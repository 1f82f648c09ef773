///usr/bin/env jbang "$0" "$@" ; exit $?
// SPDX-License-Identifier: Apache-2.0
//JAVA 25+
//DEPS io.sfumato:sfumato-models:0.1.0
//RUNTIME_OPTIONS --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC -Xmn32m

import io.sfumato.models.cli.Sfumato;

/** The one program without a build: {@code jbang sfumato@sfumato/sfumato train ddpm --minutes 2}. */
class sfumato {
  public static void main(String[] args) {
    Sfumato.main(args);
  }
}
