// SPDX-License-Identifier: Apache-2.0
/** The report of training runs: one HTML file that needs nothing but a browser. */
@NullMarked
package io.sfumato.models.report;

import org.jspecify.annotations.NullMarked;
