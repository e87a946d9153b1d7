/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/hash.h"

/*
 * Made with CPython's hashlib.blake2b(data, key=key, digest_size=32), where byte i of data is i * 7 % 251 and
 * byte i of the key is i.
 */
static const struct {
	size_t key;
	size_t len;
	const char *hex;
} vectors[] = {
	{0, 0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
	{0, 1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"},
	{0, 3, "b316f3683ac87007461037a8ff6547de35618800044bb3a4e98b3560c92c3794"},
	{0, 64, "8543502f4ed625644badebe82e0358f1e0a6991d854e110b7f28511aa17d7f08"},
	{0, 127, "1bb3d24376d0b5840955e640c6a8a4830cd69af0b7ad71a409d2a30c6a374abb"},
	{0, 128, "9101ed0a248b57efc0c6070cfbf9cf316c182d125ad6191c1f7783c3d32b6346"},
	{0, 129, "60f5e954d1a1775362ffd0762ed37bbe101ed5e88896dd793f1a889786fb3132"},
	{0, 255, "9399bcd4acec0cc0e9dec7267671a6f2e65568dc917afb54791da24523a71b32"},
	{0, 256, "45d503f4fc344944eeff959e1e2234c47884011023598cadbd934f08d4265016"},
	{0, 257, "4ad285edc2490602fd02d61df8008d95887039bade83dae8a1e207ae1cac33ac"},
	{0, 384, "87f40eeea10c31a36643749101076ec3ccb990cf6ffbbf73d67022831f30d289"},
	{0, 1000, "a494537cc57474059ebe7a7f7a76c03306551355abebb1967408ed04e7564fa9"},
	{0, 4096, "fd6ff374874485c8f6f366a5e2433fc6fceefdb7d657925eee3f38f9dcd4c787"},
	{1, 0, "52897a9c27e9781839168d22a76145b07a8a7f8cd85c1d3709e5b09468405099"},
	{1, 1, "b83b195358b8160b1682c855fc8d09be3492bca2847ad0d9f0e853d8b5eeee95"},
	{1, 3, "e5bcaa47bfcc998e7507c55c78bd1ce8c775050a732f53e81148d1b719802afb"},
	{1, 64, "0256195ee167f14b09e91a4e0f89ba02df4ae2c40de0aed206f56faecf5422ef"},
	{1, 127, "76e637bbc88daec8f982b8fcb2869d0d20432eb2c03f56c0139f29a8bcdb614f"},
	{1, 128, "86e7cbdd2bc9a50dcc4ce6eaf81cf5ef7862565e559c37b5bfd1c338b4f81594"},
	{1, 129, "d865d1d623662dd2e251f6f97566d11ba2436e1c202ea6ca2a4c5de223650999"},
	{1, 255, "e83913af7ae02ae4b7cdb3f1e5d94b42926da73d9bddc57ddcb61c6e87b48c69"},
	{1, 256, "ba3a66e9774052d87e5e33c6dd1e2ad57ab0f9e324be014b55c0800f430f439e"},
	{1, 257, "e1a37f4eaf4b2bc45892b301bc42dc8f1c0f0e2d524d2629b3a49249392c9ec6"},
	{1, 384, "5cfb94a1337f5bd277ec9e9bb90b283d1f42d9b16d7d574b8eabf2fa1bf7500a"},
	{1, 1000, "dab3dfa76812c6c3091cf6e99c75ad1e5bf7572339d83e7c3b3b0e29fac8a43d"},
	{1, 4096, "97feb8ec426c3fc33baf4ec57f8d14e406f461fbe2520978cd00f735d9a9bbe8"},
	{32, 0, "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d"},
	{32, 1, "41ff93a4eaeebd3b78a93438a6f62a92ab5959c859e682b72c7def406197ca4d"},
	{32, 3, "d948bdd9397d634b528ac977b75ce929a2219ac80e43e565f6277ee0d2847f91"},
	{32, 64, "d739d60a461b602484ec4f3400b2d8cd4278d4b61cb521ed27fb4e78eb0ddff3"},
	{32, 127, "a366075a2cd6d94cfb67ccef982648066306bf2431d2994a68a7c79f980614a3"},
	{32, 128, "514fb23183638fed8a74df54331f75d4b670ef8666e5c7996fc6ed6c8ce88154"},
	{32, 129, "97aa9cfbcff49309c107ae335a37ccac07bb2329e190e97d751bec0eb3596d55"},
	{32, 255, "1417e06b7b095b76e31ab3d19321bc03f7cfd3c2b0f1804c91c86c99a4f82913"},
	{32, 256, "93326521dc79aaacd25c593430694af6011d54db49b472e307a17c469902d024"},
	{32, 257, "0afc8fae0dcb69cf24503fa7add6ed6d3204c74cfe24f18ba50017138e6b752b"},
	{32, 384, "a6b87319ece8331421a4cf42edd3e2a9253ccf675d5d3277f024bb2b0c7f0532"},
	{32, 1000, "95d0c796a1483fc1d1a8b5bc018000f80433d773e3f5016cdea79fa7b3b3382b"},
	{32, 4096, "6ff70c9a28bca55caaa133abd0ed2ac2eb02ac5ae63598061dac92cb82184a91"},
	{64, 0, "2fa9fbd9be36437de204e139e97d402bce68c828f43391608c891b5faed8a98a"},
	{64, 1, "34758b647135628297fb09c7930cd04e9528e5669112f5b1318493e14de77e55"},
	{64, 3, "2d89d53cf846cf4c22eaa42c2f0916ab2a63295dbd1826bf6166f60d9c5846ea"},
	{64, 64, "5a0a13abb7e8b88872b1e8c49b72602c0c59a707fc9fad2f7c5abf171d62b9fc"},
	{64, 127, "89c3e69b3e7de09765657fd5f5727c8098e9c11359c2fac9ec4f2b7c30a52996"},
	{64, 128, "f939a594ca376a06325f4d0341e20a9ec03bc8d92199e36316d112eeb7da3700"},
	{64, 129, "620634534e7754afa4e3a8d67f03f8f2d34c10fe80bdc755e31114b1440f1275"},
	{64, 255, "6dc86758cb72dbc66cd2284a752ad70277537d899977f35ed83b7fe073c97ff5"},
	{64, 256, "6536f099c91423ab5b334ce150122e0159fb67594f3cd472071066f86b673117"},
	{64, 257, "5d9500835072809d2588a7847561581d025635272e116c25c80792e4f8310d66"},
	{64, 384, "493cb269fa5da0a42a79fb5967e8524091aae2b86cbed904bf7c59ea25433980"},
	{64, 1000, "084417557e5fa6e5eb6d440fe9db6414857dc77f8827d1e9cd81bceb720344f6"},
	{64, 4096, "70533300f293d705c71ec1cf174cc87f5f7bd5a54a601a464e3549bd3ee38504"},
};

static uint8_t data[4096], key_bytes[64];

static int
fill(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 % 251);
	for (size_t i = 0; i < sizeof(key_bytes); i++)
		key_bytes[i] = (uint8_t)i;
	return 0;
}

static void
test_published(void **state)
{
	char hex[HASH_HEX];
	struct hash h = hash_of(STR("abc"));

	(void)state;
	assert_string_equal(
		hash_hex(&h, hex), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	h = hash_of(STR_NULL);
	assert_string_equal(
		hash_hex(&h, hex), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

/* Each vector in one piece and in pieces of several sizes. */
static void
test_vectors(void **state)
{
	static const size_t steps[] = {4096, 1, 3, 64, 127, 128, 129};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors) * ARRAY_LEN(steps); i++) {
		size_t step = steps[i % ARRAY_LEN(steps)], v = i / ARRAY_LEN(steps);
		char hex[HASH_HEX];
		struct hash_ctx c;

		hash_init(&c, str_n(key_bytes, vectors[v].key));
		for (size_t at = 0; at < vectors[v].len; at += step)
			hash_add(&c, str_sub(str_n(data, vectors[v].len), at, step));
		struct hash h = hash_end(&c);
		if (strcmp(hash_hex(&h, hex), vectors[v].hex) != 0)
			fail_msg(
				"key %zu length %zu step %zu: %s", vectors[v].key, vectors[v].len, step, hex);
	}
}

static struct hash
of_fields(struct str a, struct str b)
{
	struct hash_ctx c;

	hash_init(&c, STR_NULL);
	hash_add_field(&c, a);
	hash_add_field(&c, b);
	return hash_end(&c);
}

static void
test_fields_do_not_run_together(void **state)
{
	struct hash a = of_fields(STR("ab"), STR("c")), b = of_fields(STR("a"), STR("bc"));
	struct hash flat = hash_of(STR("\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c"));

	(void)state;
	assert_false(hash_equal(&a, &b));
	assert_true(hash_equal(&a, &flat));
}

static void
test_equal_sees_every_bit(void **state)
{
	struct hash a = hash_of(STR("x"));

	(void)state;
	for (unsigned bit = 0; bit < HASH_BYTES * 8; bit++) {
		struct hash b = a;
		assert_true(hash_equal(&a, &b));
		b.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(hash_equal(&a, &b));
	}
}

static void
test_context_is_wiped(void **state)
{
	static const struct hash_ctx zero;
	struct hash_ctx c;

	(void)state;
	hash_init(&c, STR("key"));
	hash_add(&c, STR("a secret"));
	hash_end(&c);
	assert_memory_equal(&c, &zero, sizeof(c));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_fields_do_not_run_together),
		cmocka_unit_test(test_equal_sees_every_bit),
		cmocka_unit_test(test_context_is_wiped),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
