"""Writes the tokenizers and the tokens that Hugging Face's library gives.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    python internal/tokenizer/testdata/make.py

The vocabularies are learned from the sentences below: they are small and mean
nothing, but their files have every part that those of real models have.
"""

import gzip, json, os, tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from sentencepiece import sentencepiece_model_pb2 as pb

HERE = os.path.dirname(os.path.abspath(__file__))

SENTENCES = """
the compactor merges small files of a topic into larger ones
a broker seals its segments and puts them into the bucket
what is the recall of a search that reads eight lists of a cold shard
offsets are what logs, tables, splits and shards are joined by
The provider answers too many requests: wait, then ask again.
Der Verdichter fügt kleine Dateien zu größeren zusammen.
Le courtier scelle ses segments, puis les dépose là où ils restent.
payments failed 17 times in 2026, 3.5 % of all; we've asked why
connection refused while reading from 10.0.0.12:9092
vectors of two models are never compared with one another
水 and 火 are words; 東京 is a city
""".strip().split("\n") * 3

TEXTS = SENTENCES[:11] + [
    "", " ", "a", "  two  spaces   and a tab\tand\na line\r\n", "Ünïcödé ÉCOLE naïve İstanbul ΣΊΣΥΦΟΣ",
    "don't can't we'll I'VE", "supercalifragilisticexpialidocious", "x" * 130, "emoji 🎉🎉 and 👩‍👩‍👧 family, é e\u0301 ﬁ ½ ①",
    "[CLS] text with [MASK] and <mask> and <s> inside</s>", "price: $1,234.56!! #hash @user a_b-c", "\u200bzero\u00a0width\ufeff \u0000nul \x1b esc \ufffd",
    "한국어 문장 ᄒᆞᆫ글", "中文句子没有空格", "ﾊﾝｶｸ ｶﾅ ＦＵＬＬ", "हिन्दी में वाक्य", "عربي نص", "▁metaspace▁ mark", "a\u2028b\u3000c\u0085d",
    "tail space ", "   ", "\n\n  x\n \n", "1234567 12 3 四五 Ⅷ ²", "ǅ ß ẞ ŉ", "...---...", "ab" * 300, "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐐀", "a\u0301\u0302\u0303 \u0301", "_under_ __init__ x_1",
]


def spm_charsmap(rule):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "in.txt")
        open(path, "w").write("\n".join(SENTENCES * 20))
        sentencepiece.SentencePieceTrainer.train(input=path, model_prefix=os.path.join(d, "m"), vocab_size=150,
                                                 normalization_rule_name=rule, hard_vocab_limit=False, minloglevel=2)
        m = pb.ModelProto()
        m.ParseFromString(open(os.path.join(d, "m.model"), "rb").read())
        return m.normalizer_spec.precompiled_charsmap


def wordpiece(**kw):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(**kw)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.enable_truncation(128)
    t.enable_padding(pad_id=0, pad_token="[PAD]")
    return t


def bytelevel(prefix, post):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    t.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    t.post_processor = post
    return t


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=380, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|end|>"], show_progress=False))
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", 0)])])
    return t


def llama2():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)], show_progress=False))
    d = json.loads(t.to_str())
    d["added_tokens"] = d["added_tokens"][:3]
    t = Tokenizer.from_str(json.dumps(d))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def suffixed():
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    t.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=260, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False))
    return t


def unigram(normalizer, bytes_too):
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizer(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    specials = ["<s>", "<pad>", "</s>", "<unk>"] + (["<0x%02X>" % b for b in range(256)] if bytes_too else [])
    t.train_from_iterator(SENTENCES, trainers.UnigramTrainer(vocab_size=350, special_tokens=specials, unk_token="<unk>", show_progress=False))
    d = json.loads(t.to_str())
    d["model"]["byte_fallback"] = bytes_too
    d["added_tokens"] = d["added_tokens"][:4]
    t = Tokenizer.from_str(json.dumps(d))
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    return t


def wordlevel():
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Digits()])
    t.train_from_iterator(SENTENCES, trainers.WordLevelTrainer(vocab_size=120, special_tokens=["<unk>"], show_progress=False))
    t.add_tokens([AddedToken("Topic", single_word=True), AddedToken("cold shard", rstrip=True)])
    return t


def metafirst():
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.NFD()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("-", "merged_with_next"), pre_tokenizers.Metaspace(prepend_scheme="first", split=False), pre_tokenizers.Split(Regex(r"\d+"), "contiguous", invert=True)])
    t.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=260, special_tokens=["<unk>", "<s>"], show_progress=False))
    return t


ALL = {
    "wordpiece-uncased": lambda: wordpiece(lowercase=True),
    "wordpiece-cased": lambda: wordpiece(lowercase=False, handle_chinese_chars=True, strip_accents=False, clean_text=True),
    "bpe-roberta": lambda: bytelevel(False, processors.RobertaProcessing(("</s>", 2), ("<s>", 0))),
    "bpe-gpt2": lambda: bytelevel(True, processors.ByteLevel()),
    "bpe-llama3": llama3,
    "bpe-llama2": llama2,
    "bpe-suffix": suffixed,
    "bpe-metaspace": metafirst,
    "unigram-xlmr": lambda: unigram(lambda: normalizers.Precompiled(spm_charsmap("nmt_nfkc")), True),
    "unigram-bert": lambda: unigram(lambda: normalizers.BertNormalizer(), True),
    "unigram-marks": lambda: unigram(lambda: normalizers.Sequence([normalizers.Nmt(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Lowercase()]), True),
    "wordlevel": wordlevel,
}

for name, make in ALL.items():
    t = make()
    text = json.dumps(json.loads(t.to_str()), ensure_ascii=False, separators=(",", ":"))
    t.no_truncation()
    t.no_padding()
    if "Precompiled" in text:  # its table is large
        with gzip.GzipFile(os.path.join(HERE, name + ".json.gz"), "wb", mtime=0) as f:
            f.write(text.encode())
    else:
        with open(os.path.join(HERE, name + ".json"), "w") as f:
            f.write(text + "\n")
    with open(os.path.join(HERE, name + ".tokens"), "w") as f:
        for s in TEXTS:
            ids = t.encode(s).ids
            f.write(json.dumps(s) + "\t" + " ".join(map(str, ids)) + "\n")
    print(name, len(text))
