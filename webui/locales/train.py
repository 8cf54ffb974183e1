"""Elements of the Train panel. Messages are in `train_messages`."""

from __future__ import annotations

from . import probe, train_messages
from .words import BESIDE, Five, element


ALERTS = {**train_messages.ALERTS, **probe.ALERTS}
LOCALES = {
    "dba_train_intro": element(
        value=Five(
            "These fields belong to the **Train** tab: its Start, Preview, Save and Load buttons use them. Model, data "
            "and output are chosen there.",
            "Эти поля относятся к вкладке **Train**: её кнопки запуска, предпросмотра, сохранения и загрузки их "
            "учитывают. Модель, данные и папка вывода выбираются там.",
            "这些字段属于 **Train** 标签页：其开始、预览、保存和载入按钮都会用到它们。模型、数据和输出目录在那里选择。",
            "이 항목들은 **Train** 탭에 속하며, 그 탭의 시작·미리보기·저장·불러오기 버튼이 함께 사용합니다. 모델, 데이터, "
            "출력 폴더는 그 탭에서 선택합니다.",
            "これらの項目は **Train** タブの一部で、そのタブの開始・プレビュー・保存・読み込みボタンで使われます。"
            "モデル、データ、出力先はそちらで選びます。",
        )
    ),
    "dba_train_preset_paper": element(
        value=Five("Preset: paper", "Набор: статья", "预设：论文", "프리셋: 논문", "プリセット：論文")
    ),
    "dba_train_preset_annealing": element(
        value=Five(
            "Preset: annealing only",
            "Набор: только отжиг",
            "预设：仅退火",
            "프리셋: 어닐링만",
            "プリセット：アニーリングのみ",
        )
    ),
    "dba_train_preset_direct": element(
        value=Five(
            "Preset: direct", "Набор: прямое дообучение", "预设：直接微调", "프리셋: 직접 미세조정", "プリセット：直接"
        )
    ),
    "dba_train_preset_elastic": element(
        value=Five("Preset: elastic", "Набор: эластичный", "预设：弹性", "프리셋: 탄성", "プリセット：エラスティック")
    ),
    "dba_train_enabled": element(
        label=Five("Use DBA", "Использовать DBA", "使用 DBA", "DBA 사용", "DBA を使用"),
        info=Five(
            "Train with Dynamic Boosted Annealing. Needs an anchor and finetuning method full or freeze.",
            "Обучать с Dynamic Boosted Annealing. Нужны якорь и метод дообучения full или freeze.",
            "使用 Dynamic Boosted Annealing 训练。需要锚点，微调方法须为 full 或 freeze。",
            "Dynamic Boosted Annealing으로 훈련합니다. 앵커와 full 또는 freeze 미세조정이 필요합니다.",
            "Dynamic Boosted Annealing で学習します。アンカーと、full または freeze のファインチューニングが必要です。",
        ),
    ),
    "dba_train_anchor": element(
        label=Five("Anchor", "Якорь", "锚点", "앵커", "アンカー"),
        info=Five(
            "Folder or hub id (owner/name). The list shows those that fit the chosen model.",
            "Папка или идентификатор на хабе (owner/name). В списке — подходящие к выбранной модели.",
            "文件夹或 Hub 名称（owner/name）。列表中是与所选模型匹配的锚点。",
            "폴더 또는 허브 ID(owner/name). 목록에는 선택한 모델에 맞는 앵커가 나옵니다.",
            "フォルダまたは Hub の ID（owner/name）。一覧には選んだモデルに合うものが出ます。",
        ),
    ),
    "dba_train_boost_on": element(
        label=Five("Boost (GGB)", "Усиление (GGB)", "增强（GGB）", "부스트(GGB)", "ブースト（GGB）"),
        info=Five(
            "Blend the anchor into the gradient, fading to zero.",
            "Подмешивать якорь к градиенту, постепенно до нуля.",
            "将锚点混入梯度，并逐渐减弱到零。",
            "앵커를 그래디언트에 섞으며 0까지 줄입니다.",
            "アンカーを勾配に混ぜ、徐々にゼロにします。",
        ),
    ),
    "dba_train_boost": element(
        label=Five("Boost magnitude", "Величина усиления", "增强强度", "부스트 크기", "ブーストの大きさ"),
        info=Five(
            "In steps, 0 or more: the anchor's weight starts at min(1, this / total steps).",
            "В шагах, от 0: вес якоря начинается с min(1, значение / число шагов).",
            "以步计，不小于 0：锚点权重从 min(1, 该值 / 总步数) 开始。",
            "스텝 단위, 0 이상: 앵커 가중치는 min(1, 이 값 / 총 스텝)에서 시작합니다.",
            "ステップ単位、0 以上：アンカーの重みは min(1, この値 / 総ステップ数) から始まります。",
        ),
    ),
    "dba_train_correction": element(
        label=Five(
            "Dynamic Correction (DC)",
            "Динамическая коррекция (DC)",
            "动态校正（DC）",
            "동적 보정(DC)",
            "動的補正（DC）",
        ),
        info=Five(
            "Multiply every step by 1 / (similarity + base correction).",
            "Умножать каждый шаг на 1 / (сходство + базовая коррекция).",
            "每步乘以 1 /（相似度 + 基础校正）。",
            "매 스텝에 1 / (유사도 + 기본 보정)을 곱합니다.",
            "毎ステップに 1 /（類似度 + 基本補正）を掛けます。",
        ),
    ),
    "dba_train_base": element(
        label=Five("Base correction", "Базовая коррекция", "基础校正", "기본 보정", "基本補正"),
        info=Five(
            "No unit, above 0: a step grows at most 1 / this times.",
            "Без единиц, больше 0: шаг растёт не более чем в 1 / значение раз.",
            "无单位，大于 0：步长最多放大 1 / 该值 倍。",
            "단위 없음, 0보다 큼: 스텝은 최대 1 / 이 값 배까지 커집니다.",
            "単位なし、0 より大：ステップは最大で 1 / この値 倍になります。",
        ),
    ),
    "dba_train_rank": element(
        label=Five("Anchor rank", "Ранг якоря", "锚点秩", "앵커 랭크", "アンカーのランク"),
        info=Five(
            "Directions used per matrix, 1 or more; at most what the anchor has.",
            "Направлений на матрицу, от 1; не больше, чем есть в якоре.",
            "每个矩阵使用的方向数，不小于 1；最多为锚点所含。",
            "행렬당 사용할 방향 수, 1 이상. 앵커가 가진 만큼까지.",
            "行列ごとに使う方向の数、1 以上。アンカーにある数まで。",
        ),
    ),
    "dba_train_more": element(label=Five("Advanced", "Дополнительно", "高级", "고급", "詳細")),
    "dba_train_variant": element(
        label=Five("Variant", "Вариант", "变体", "변형", "方式"),
        info=Five(
            "What is done with the anchor; all but “paper” use neither boost nor correction (docs/methods.md).",
            "Что делается с якорем; все, кроме «paper», не используют усиление и коррекцию (docs/methods.md).",
            "如何使用锚点；除 “paper” 外都不使用增强和校正（docs/methods.md）。",
            "앵커를 쓰는 방법. “paper” 외에는 부스트와 보정을 쓰지 않습니다(docs/methods.md).",
            "アンカーの使い方。「paper」以外はブーストも補正も使いません（docs/methods.md）。",
        ),
    ),
    "dba_train_strength": element(
        label=Five("Strength", "Сила", "强度", "강도", "強さ"),
        info=Five(
            "Of elastic, ewc, l2sp and pcgrad, no unit, 0 or more: more keeps more and learns less. Empty: the "
            "variant's default.",
            "Для elastic, ewc, l2sp и pcgrad, без единиц, от 0: больше — сохраняется больше, учится меньше. Пусто: "
            "значение варианта по умолчанию.",
            "用于 elastic、ewc、l2sp 和 pcgrad，无单位，不小于 0：越大保留越多、学得越少。留空为该变体的默认值。",
            "elastic, ewc, l2sp, pcgrad용, 단위 없음, 0 이상: 클수록 더 지키고 덜 배웁니다. 비우면 변형의 기본값입니다.",
            "elastic、ewc、l2sp、pcgrad 用、単位なし、0 以上：大きいほど保持が増え学習が減ります。空欄は既定値です。",
        ),
    ),
    "dba_train_every": element(
        label=Five("Pull back every", "Возврат каждые", "拉回间隔", "되돌림 간격", "引き戻しの間隔"),
        info=Five(
            "Elastic: in optimizer steps, 1 or more.",
            "Elastic: в шагах оптимизатора, от 1.",
            "elastic：以优化器步计，不小于 1。",
            "elastic: 옵티마이저 스텝 단위, 1 이상.",
            "elastic：オプティマイザのステップ単位、1 以上。",
        ),
    ),
    "dba_train_base_weights": element(
        label=Five(
            "Base weights kept on",
            "Исходные веса хранятся",
            "基座权重存放于",
            "기본 가중치 위치",
            "元の重みの置き場所",
        ),
        info=Five(
            "Elastic, ewc, l2sp: 2 bytes per parameter of a bf16 model, on the device or on the host.",
            "Elastic, ewc, l2sp: 2 байта на параметр модели bf16, на устройстве или в памяти хоста.",
            "elastic、ewc、l2sp：bf16 模型每个参数 2 字节，存于设备或主机内存。",
            "elastic, ewc, l2sp: bf16 모델은 파라미터당 2바이트, 장치 또는 호스트에 둡니다.",
            "elastic、ewc、l2sp：bf16 モデルで 1 パラメータ 2 バイト、デバイスまたはホストに置きます。",
        ),
    ),
    "dba_train_embedding_ratio": element(
        label=Five(
            "Embeddings' rate, × learning rate",
            "Скорость эмбеддингов, × скорость обучения",
            "嵌入层学习率，× 学习率",
            "임베딩 학습률, × 학습률",
            "埋め込みの学習率、× 学習率",
        ),
        info=Five(
            "Of the input and output embeddings, 0 or more; 1 is the rate of everything else, 0 freezes them "
            "(docs/elastic.md).",
            "Для входных и выходных эмбеддингов, от 0; 1 — как у всего остального, 0 замораживает их "
            "(docs/elastic.md).",
            "用于输入和输出嵌入层，不小于 0；1 与其余部分相同，0 则冻结（docs/elastic.md）。",
            "입력·출력 임베딩용, 0 이상. 1은 나머지와 같고 0은 고정합니다(docs/elastic.md).",
            "入力・出力の埋め込み用、0 以上。1 は他と同じ、0 で固定します（docs/elastic.md）。",
        ),
    ),
    "dba_train_general": element(
        label=Five(
            "General data for a missing anchor",
            "Общие данные для недостающего якоря",
            "缺少锚点时使用的通用数据",
            "앵커가 없을 때 쓸 일반 데이터",
            "アンカーがないときの一般データ",
        ),
        info=Five(
            "Names in dataset_info.json; the anchor is made from them first if its folder is not there.",
            "Имена из dataset_info.json; если папки якоря нет, он сначала строится по ним.",
            "dataset_info.json 中的名称；若锚点文件夹不存在，则先用它们制作。",
            "dataset_info.json의 이름. 앵커 폴더가 없으면 먼저 이것으로 만듭니다.",
            "dataset_info.json の名前。アンカーのフォルダがなければ先にこれで作ります。",
        ),
    ),
    "dba_train_general_samples": element(
        label=Five("Samples of each", "Примеров из каждого", "各取样本数", "각각의 샘플 수", "それぞれの件数"),
        info=Five(
            "Rows, 1 or more; empty: all.",
            "Строк, от 1; пусто: все.",
            "行数，不小于 1；留空为全部。",
            "행 수, 1 이상. 비우면 전부.",
            "行数、1 以上。空欄はすべて。",
        ),
    ),
    "dba_train_added_tokens": element(
        label=Five(
            "Allow added tokens",
            "Разрешить добавленные токены",
            "允许新增词元",
            "추가 토큰 허용",
            "追加トークンを許可",
        ),
        info=Five(
            "The model may have tokens that the anchor's lacks; they are trained without it.",
            "У модели могут быть токены, которых нет у якоря; они учатся без него.",
            "模型可含锚点没有的词元；这些词元不使用锚点训练。",
            "모델에 앵커에 없는 토큰이 있어도 됩니다. 그 토큰은 앵커 없이 훈련됩니다.",
            "アンカーにないトークンがあってもよく、それらはアンカーなしで学習します。",
        ),
    ),
    "dba_train_record": element(
        label=Five("Record of the run", "Запись запуска", "运行记录", "실행 기록", "実行の記録"),
        info=Five(
            "run_record.json with settings and cost: auto writes it with DBA only.",
            "run_record.json с настройками и затратами: auto пишет его только с DBA.",
            "含设置与开销的 run_record.json：auto 仅在使用 DBA 时写入。",
            "설정과 비용이 담긴 run_record.json: auto는 DBA일 때만 씁니다.",
            "設定とコストの run_record.json：auto は DBA のときだけ書きます。",
        ),
    ),
    "dba_train_with_board": element(
        label=Five(
            "End with the board", "Завершать вместе с доской", "随面板结束", "보드와 함께 종료", "ボードと共に終了"
        ),
        info=Five(
            "Otherwise a training with DBA goes on when the board ends, and the next board shows it.",
            "Иначе обучение с DBA продолжается после остановки доски, и следующая доска его покажет.",
            "否则面板退出后 DBA 训练会继续，下次打开的面板会显示它。",
            "끄면 보드가 끝나도 DBA 훈련은 계속되고, 다음 보드에서 다시 보입니다.",
            "オフならボードが終了しても DBA の学習は続き、次のボードに表示されます。",
        ),
    ),
    "dba_train_beside": element(
        label=BESIDE,
        info=Five(
            "Otherwise nothing starts while an anchor is computed or another training runs on the same device, whose memory they would share.",
            "Иначе запуск не начнётся, пока вычисляется якорь или идёт другое обучение на том же устройстве: память у них общая.",
            "否则，当锚点计算或其他训练占用同一设备（共享显存）时不会开始。",
            "끄면 같은 장치에서 앵커 계산이나 다른 훈련이 실행되는 동안 시작하지 않습니다(메모리를 나눠 쓰기 때문입니다).",
            "オフの場合、同じデバイスでアンカーの計算や別の学習が実行されている間は開始しません（メモリを共有するため）。",
        ),
    ),
    "dba_train_gauge": element(label=Five("Live gauge", "Живой датчик", "实时测量", "실시간 측정", "ライブゲージ")),
    "dba_train_gauge_steps": element(
        label=Five("Measure every", "Измерять каждые", "测量间隔", "측정 간격", "測定の間隔"),
        info=Five(
            "In optimizer steps; 0 is off. Works with and without DBA.",
            "В шагах оптимизатора; 0 — выключено. Работает с DBA и без.",
            "以优化器步计；0 为关闭。是否使用 DBA 均可。",
            "옵티마이저 스텝 단위. 0은 끔. DBA 여부와 무관합니다.",
            "オプティマイザのステップ単位。0 はオフ。DBA の有無を問いません。",
        ),
    ),
    "dba_train_gauge_samples": element(
        label=Five("Rows measured", "Строк на измерение", "测量行数", "측정할 행 수", "測る行数"),
        info=Five(
            "Rows of each set, 1 or more, the same ones throughout.",
            "Строк из каждого набора, от 1, всегда одни и те же.",
            "每个数据集的行数，不小于 1，始终相同。",
            "데이터셋마다의 행 수, 1 이상, 항상 같은 행.",
            "各データの行数、1 以上、常に同じ行。",
        ),
    ),
    "dba_train_gauge_score": element(
        label=Five("Score", "Оценка", "得分", "점수", "スコア"),
        info=Five(
            "In %: whole answers that are right (exact), or answer tokens (token).",
            "В %: полностью верные ответы (exact) или токены ответа (token).",
            "以 % 计：完全正确的答案（exact）或答案词元（token）。",
            "%: 완전히 맞은 답(exact) 또는 답의 토큰(token).",
            "%：完全に正しい回答（exact）または回答のトークン（token）。",
        ),
    ),
    "dba_train_gauge_data": element(
        label=Five(
            "Held-out general data",
            "Отложенные общие данные",
            "保留的通用数据",
            "따로 둔 일반 데이터",
            "取り置いた一般データ",
        ),
        info=Five(
            "Names in dataset_info.json; empty: KL divergence from the base model is measured.",
            "Имена из dataset_info.json; пусто: измеряется KL-расхождение с исходной моделью.",
            "dataset_info.json 中的名称；留空则测量与基座模型的 KL 散度。",
            "dataset_info.json의 이름. 비우면 기본 모델과의 KL 발산을 잽니다.",
            "dataset_info.json の名前。空欄なら元のモデルとの KL ダイバージェンスを測ります。",
        ),
    ),
    "dba_train_gauge_domain": element(
        label=Five(
            "Held-out domain data",
            "Отложенные данные предметной области",
            "保留的领域数据",
            "따로 둔 도메인 데이터",
            "取り置いたドメインデータ",
        ),
        info=Five(
            "Names in dataset_info.json; empty: the rows of the validation split.",
            "Имена из dataset_info.json; пусто: строки проверочной части.",
            "dataset_info.json 中的名称；留空则使用验证集。",
            "dataset_info.json의 이름. 비우면 검증 분할의 행을 씁니다.",
            "dataset_info.json の名前。空欄なら検証用の行を使います。",
        ),
    ),
    "dba_train_gauge_patience": element(
        label=Five("Patience", "Терпение", "耐心", "인내", "我慢"),
        info=Five(
            "Stop after so many measurements without a new best; 0 never does.",
            "Остановить после стольких измерений без улучшения; 0 — никогда.",
            "连续多少次测量无新高则停止；0 为从不。",
            "최고값이 이 횟수만큼 갱신되지 않으면 멈춥니다. 0은 멈추지 않음.",
            "この回数だけ更新がなければ止めます。0 は止めません。",
        ),
    ),
    "dba_train_gauge_keep_best": element(
        label=Five("Keep the best", "Сохранять лучшее", "保留最佳", "최고 가중치 보관", "最良を残す"),
        info=Five(
            "Keep the weights with the best score in output/best.",
            "Хранить веса с лучшей оценкой в папке best.",
            "将得分最高的权重保存在 best 文件夹。",
            "점수가 가장 높은 가중치를 best 폴더에 둡니다.",
            "最良スコアの重みを best フォルダに残します。",
        ),
    ),
    "dba_train_predict": element(
        label=Five(
            "Predict before training",
            "Прогноз до обучения",
            "训练前预测",
            "훈련 전 예측",
            "学習前の予測",
        )
    ),
    "dba_train_batches": element(
        label=Five("Steps to look at", "Просмотреть шагов", "查看步数", "살펴볼 스텝", "調べるステップ数"),
        info=Five(
            "Optimizer steps, 1 to 1024; no weight is changed.",
            "Шагов оптимизатора, от 1 до 1024; веса не меняются.",
            "优化器步数，1 到 1024；不改变任何权重。",
            "옵티마이저 스텝, 1~1024. 가중치는 바뀌지 않습니다.",
            "オプティマイザのステップ、1〜1024。重みは変わりません。",
        ),
    ),
    "dba_train_predict_btn": element(value=Five("Predict", "Предсказать", "预测", "예측", "予測")),
    "dba_train_predict_stop": element(
        value=Five("Stop predicting", "Прервать прогноз", "停止预测", "예측 중지", "予測を中止")
    ),
    "dba_train_preview_btn": element(
        value=Five("Preview command", "Просмотр команды", "预览命令", "명령어 미리보기", "コマンドをプレビュー")
    ),
    "dba_train_start_btn": element(value=Five("Start", "Начать", "开始", "시작", "開始")),
    "dba_train_stop_btn": element(value=Five("Abort", "Прервать", "中断", "중단", "中断")),
}
