package client;

import compat.Report;

final class Operate {
    static void plan(Report report) {
    }
}
