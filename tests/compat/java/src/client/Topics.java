package client;

import compat.Report;

final class Topics {
    static void plan(Report report) {
    }
}
