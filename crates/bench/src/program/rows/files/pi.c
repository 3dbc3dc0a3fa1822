// Digits of pi by the series of David and Gregory Chudnovsky (1988), summed by binary splitting:
//   1/pi = 12 sum over k of (-1)^k (6k)! (13591409 + 545140134 k) / ((3k)! (k!)^3 640320^(3k + 3/2))
// A range of terms is held as three integers: p and q, the products of the numerators and
// denominators by which each term follows from the one before, and t, the sum times q.
#include <gmp.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  mpz_t p, q, t;
} Range;

static void open_range(Range *range) { mpz_inits(range->p, range->q, range->t, NULL); }

static void close_range(Range *range) { mpz_clears(range->p, range->q, range->t, NULL); }

static void one_term(Range *range, unsigned long k) {
  if (k == 0) {
    mpz_set_ui(range->p, 1);
    mpz_set_ui(range->q, 1);
  } else {
    mpz_set_ui(range->p, 6 * k - 5);
    mpz_mul_ui(range->p, range->p, 2 * k - 1);
    mpz_mul_ui(range->p, range->p, 6 * k - 1);
    mpz_neg(range->p, range->p);
    mpz_ui_pow_ui(range->q, k, 3);
    mpz_mul_ui(range->q, range->q, 10939058860032000ul);  // 640320^3 / 24
  }
  mpz_set_ui(range->t, 545140134ul);
  mpz_mul_ui(range->t, range->t, k);
  mpz_add_ui(range->t, range->t, 13591409ul);
  mpz_mul(range->t, range->t, range->p);
}

static void terms(Range *range, unsigned long from, unsigned long to) {
  if (to - from == 1) {
    one_term(range, from);
    return;
  }
  unsigned long middle = from + (to - from) / 2;
  Range left, right;
  open_range(&left);
  open_range(&right);
  terms(&left, from, middle);
  terms(&right, middle, to);
  mpz_mul(range->p, left.p, right.p);
  mpz_mul(range->q, left.q, right.q);
  mpz_mul(left.t, left.t, right.q);
  mpz_mul(right.t, right.t, left.p);
  mpz_add(range->t, left.t, right.t);
  close_range(&left);
  close_range(&right);
}

static char *pi(unsigned long digits) {
  Range all;
  mpz_t root;
  open_range(&all);
  // A term gives a little more than 14 digits.
  terms(&all, 0, digits / 14 + 2);
  mpz_init(root);
  mpz_ui_pow_ui(root, 10, 2 * digits);
  mpz_mul_ui(root, root, 10005);
  mpz_sqrt(root, root);
  mpz_mul_ui(root, root, 426880);
  mpz_mul(root, root, all.q);
  mpz_tdiv_q(root, root, all.t);
  char *text = mpz_get_str(NULL, 10, root);
  mpz_clear(root);
  close_range(&all);
  return text;
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  unsigned long digits = strtoul(arguments[1], NULL, 10);
  unsigned long times = strtoul(arguments[2], NULL, 10);
  for (unsigned long time = 1; time <= times; time++) {
    char *text = pi(digits);
    if (time == times) puts(text);
    free(text);
  }
}
